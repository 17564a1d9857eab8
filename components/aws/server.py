"""What every machine made here has in common: its disk, and what it may ask AWS."""

import pulumi
import pulumi_aws as aws

METADATA = aws.ec2.InstanceMetadataOptionsArgs(
    http_endpoint="enabled",
    # IMDSv2 alone, and for no container behind a bridge: the user data hold the host key.
    http_tokens="required",
    http_put_response_hop_limit=1,
)


def root_volume(size: pulumi.Input[int], tags: dict[str, str]) -> aws.ec2.InstanceRootBlockDeviceArgs:
    """The encrypted disk that a machine boots from, in GiB; it goes with the machine."""
    return aws.ec2.InstanceRootBlockDeviceArgs(
        volume_type="gp3", volume_size=size, encrypted=True, delete_on_termination=True, tags=tags
    )
