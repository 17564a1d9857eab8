"""What all created machines have in common: the root volume and the options of the metadata service."""

import pulumi
import pulumi_aws as aws

METADATA = aws.ec2.InstanceMetadataOptionsArgs(
    http_endpoint="enabled",
    # Only IMDSv2, and not for containers behind a bridge: the user data contain the host key.
    http_tokens="required",
    http_put_response_hop_limit=1,
)


def root_volume(size: pulumi.Input[int], tags: dict[str, str]) -> aws.ec2.InstanceRootBlockDeviceArgs:
    """The encrypted root volume, with its size in GiB. It is deleted with the machine."""
    return aws.ec2.InstanceRootBlockDeviceArgs(
        volume_type="gp3", volume_size=size, encrypted=True, delete_on_termination=True, tags=tags
    )
