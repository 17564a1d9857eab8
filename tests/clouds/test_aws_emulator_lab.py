"""The emulated AWS on the computer: the command line, a second start, nothing left."""

import re
import shlex

from lab.clouds import AwsCloud
from tests.support.aws_clouds import ready, site, wait_for
from tests.support.cloud_lab import command, left
from tests.support.machines import temporary_lab


def test_the_command_line_starts_shows_and_ends_a_cloud() -> None:
    with temporary_lab("aws-command") as lab:
        up = command(lab, "aws", "up")
        assert up.returncode == 0, up.stderr
        told = dict(re.findall(r"^export (\w+)=(\S+)$", up.stdout, re.MULTILINE))
        cloud = AwsCloud(lab.dir)
        assert {name: shlex.split(value)[0] for name, value in told.items()} == cloud.environment()
        assert command(lab, "aws", "up").stdout == up.stdout, "a second time changes nothing"
        vpc = cloud.client().create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        assert re.search(rf"^vpcs +{vpc}$", command(lab, "aws", "status").stdout, re.MULTILINE)
        assert command(lab, "aws", "down").returncode == 0
        assert "no cloud is served" in command(lab, "aws", "status").stdout
        assert not lab.dir.exists()


def test_nothing_is_left_of_a_cloud_with_instances_volumes_and_networks() -> None:
    with temporary_lab("aws-left") as lab:
        cloud = AwsCloud(lab.dir).start()
        ec2 = cloud.client()
        instance = site(ec2).launch()
        ready(cloud, instance)
        volume = ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1, VolumeType="gp3")["VolumeId"]
        ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
        assert left(lab)
        cloud.reset()
        assert not any(cloud.resources().values())
        again = site(ec2).launch()
        wait_for(ec2, again, "running")
        cloud.stop()
        assert left(lab) == ""
        assert not lab.dir.exists()


def test_an_account_ends_with_its_api_and_the_next_start_begins_with_an_empty_one() -> None:
    with temporary_lab("aws-again") as lab:
        cloud = AwsCloud(lab.dir).start()
        machine = cloud.machine(site(cloud.client()).launch())
        cloud._job.kill()
        assert not cloud.running
        cloud.start()
        assert not any(cloud.resources().values())
        assert not machine.guest.running
        cloud.stop()
        assert left(lab) == ""
