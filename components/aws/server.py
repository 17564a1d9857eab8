"""What every machine made here has in common: its first boot, its disk, and what it may ask AWS."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_tls as tls

from ..plan import cloud_init

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


def first_boot(template: pulumi.Input[Any], host_key: tls.PrivateKey) -> pulumi.Output[str]:
    """User data of a template and the host key that the machine is to have (secret)."""
    parts = pulumi.Output.all(template, host_key.private_key_openssh, host_key.public_key_openssh)
    text: pulumi.Output[str] = pulumi.Output.secret(parts.apply(lambda all_: cloud_init.user_data(*all_)))
    return text
