"""The emulated AWS's volumes: block devices that come, go, grow and keep what is on them."""

from typing import Any

import pytest

from lab.clouds import AwsCloud
from tests.support.aws_clouds import OTHER_ZONE, ZONE, Site, aws, ec2, ready, refused, site, wait_for

__all__ = ["aws", "ec2"]


@pytest.fixture
def here(ec2: Any) -> Site:
    return site(ec2, public=False)


def volume(ec2: Any, zone: str = ZONE, size: int = 2) -> tuple[str, str]:
    """A new volume: its id, and where a machine finds it."""
    made = ec2.create_volume(AvailabilityZone=zone, Size=size, VolumeType="gp3", Encrypted=True)["VolumeId"]
    return made, f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{made.replace('-', '')}"


def test_a_volume_is_attached_while_the_machine_runs_grows_and_goes_to_another_machine(
    aws: AwsCloud, here: Site
) -> None:
    ec2 = here.ec2
    instances = [here.launch(wait=False) for _ in range(2)]
    for instance in instances:
        wait_for(ec2, instance, "running")
    one, two = ready(aws, *instances)
    data, link = volume(ec2)
    ec2.attach_volume(VolumeId=data, InstanceId=instances[0], Device="/dev/sdf")
    assert one.run(["readlink", "-f", link]).stdout == "/dev/nvme1n1\n"
    one.run(f"mkfs.ext4 -q {link} && mount {link} /mnt && echo kept >/mnt/file && sync")
    ec2.modify_volume(VolumeId=data, Size=3)
    assert one.run(["blockdev", "--getsize64", link]).stdout == f"{3 * 1024**3}\n"
    with refused("VolumeInUse"):
        ec2.delete_volume(VolumeId=data)
    with refused("VolumeInUse"):
        ec2.attach_volume(VolumeId=data, InstanceId=instances[1], Device="/dev/sdf")
    one.run("umount /mnt")
    ec2.detach_volume(VolumeId=data)
    assert one.run(f"test -e {link}", check=False).returncode == 1
    ec2.attach_volume(VolumeId=data, InstanceId=instances[1], Device="/dev/sdf")
    two.run(f"mount {link} /mnt")
    assert two.run("cat /mnt/file").stdout == "kept\n"
    new = here.launch(wait=False)
    with refused("IncorrectState"):
        ec2.attach_volume(VolumeId=volume(ec2)[0], InstanceId=new, Device="/dev/sdf")
    wait_for(ec2, new, "running")


def test_a_volume_outlives_its_instance_and_is_there_at_every_boot(aws: AwsCloud, here: Site) -> None:
    ec2 = here.ec2
    first = here.launch()
    machine = ready(aws, first)[0]
    data, link = volume(ec2)
    ec2.attach_volume(VolumeId=data, InstanceId=first, Device="/dev/sdf")
    machine.run(f"mkfs.xfs -q {link} && mount {link} /mnt && echo kept >/mnt/file && sync")
    ec2.stop_instances(InstanceIds=[first])
    wait_for(ec2, first, "stopped")
    ec2.start_instances(InstanceIds=[first])
    wait_for(ec2, first, "running")
    ready(aws, first)[0].run(f"mount {link} /mnt && grep kept /mnt/file")
    ec2.terminate_instances(InstanceIds=[first])
    wait_for(ec2, first, "terminated")
    assert ec2.describe_volumes(VolumeIds=[data])["Volumes"][0]["State"] == "available"
    second = here.launch()
    ec2.attach_volume(VolumeId=data, InstanceId=second, Device="/dev/sdf")
    ready(aws, second)[0].run(f"mount {link} /mnt && grep kept /mnt/file")


def test_a_wrong_attachment_is_refused(here: Site) -> None:
    ec2 = here.ec2
    instance = here.launch()
    near, far = volume(ec2)[0], volume(ec2, OTHER_ZONE)[0]
    with refused("InvalidVolume.ZoneMismatch"):
        ec2.attach_volume(VolumeId=far, InstanceId=instance, Device="/dev/sdf")
    with refused("InvalidParameterValue"):
        ec2.attach_volume(VolumeId=near, InstanceId=instance, Device="/dev/data")
    with refused("InvalidParameterValue"):
        ec2.attach_volume(VolumeId=near, InstanceId=instance, Device="/dev/xvda")
    with refused("IncorrectState"):
        ec2.detach_volume(VolumeId=near)
    with refused("InvalidInstanceID.NotFound"):
        ec2.attach_volume(VolumeId=near, InstanceId="i-0123456789abcdef0", Device="/dev/sdf")
