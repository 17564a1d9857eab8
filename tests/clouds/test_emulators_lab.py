"""The emulated clouds on this computer: the command line, an API that ends, two clouds at once, cleanup."""

import re
import shlex

import pytest

from lab.clouds import AwsCloud, EmulatedCloud, HetznerCloud
from tests.support import aws_clouds, clouds
from tests.support.labs import command
from tests.support.machines import temporary_lab
from tests.support.traces import lasting_traces, traces


def fill(cloud: EmulatedCloud) -> str:
    """Create a server with a volume in a network; returns its name or id."""
    if isinstance(cloud, HetznerCloud):
        client = clouds.new_client(cloud)
        one = clouds.server(client, "one", networks=[clouds.network(client)])
        clouds.finish(client.volumes.create(10, "data", location=clouds.FSN).volume.attach(one))
        return "one"
    assert isinstance(cloud, AwsCloud)
    ec2 = cloud.client()
    instance = aws_clouds.site(ec2).launch()
    volume = ec2.create_volume(AvailabilityZone=aws_clouds.ZONE, Size=1, VolumeType="gp3")["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    return instance


@pytest.mark.parametrize(("kind", "servers"), [(HetznerCloud, "servers"), (AwsCloud, "instances")])
def test_a_cloud_leaves_nothing_behind(kind: type[HetznerCloud | AwsCloud], servers: str) -> None:
    with temporary_lab(f"{kind.kind}-command") as lab:
        up = command(lab, "cloud", kind.kind, "up")
        assert up.returncode == 0, up.stderr
        told = dict(re.findall(r"^export (\w+)=(\S+)$", up.stdout, re.MULTILINE))
        cloud = kind(lab.dir)
        assert {name: shlex.split(value)[0] for name, value in told.items()} == cloud.environment()
        assert command(lab, "cloud", kind.kind, "up").stdout == up.stdout, "a second time changes nothing"

        name = fill(cloud)
        machine = cloud.machine(name)
        assert re.search(rf"^{servers} +{name}$", command(lab, "cloud", kind.kind, "status").stdout, re.MULTILINE)
        with temporary_lab(f"{kind.kind}-other") as beside:
            other = kind(beside.dir).start()
            assert other.public != cloud.public
            assert not any(other.resources().values())
            other.stop()
        assert machine.guest.running
        assert traces(lab)

        cloud._job.kill()
        assert "no cloud is served" in command(lab, "cloud", kind.kind, "status").stdout
        cloud.start()
        assert not any(cloud.resources().values()), "the account ends with its API"
        assert not machine.guest.running
        assert command(lab, "cloud", kind.kind, "down").returncode == 0
        assert lasting_traces(lab) == []
        assert not lab.dir.exists()
