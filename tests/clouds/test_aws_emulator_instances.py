"""The emulated AWS's instances: they boot with their user data, and do what the API says."""

import base64
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab.clouds import AwsCloud
from tests.support.aws_clouds import OTHER_ZONE, Site, aws, described, ec2, image, ready, refused, site, wait_for
from tests.support.clouds import public_key

__all__ = ["aws", "ec2"]


@pytest.fixture
def here(ec2: Any) -> Site:
    return site(ec2)


def ssh(address: str, user: str, key: Path, *command: str) -> subprocess.CompletedProcess[str]:
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5"]
    argv = ["ssh", "-F", "none", "-i", str(key), *(word for text in options for word in ("-o", text))]
    return subprocess.run(
        [*argv, f"{user}@{address}", *command], capture_output=True, text=True, timeout=30, check=False
    )


def test_an_instance_boots_with_its_user_data_its_address_and_the_key_pair(
    aws: AwsCloud, here: Site, tmp_path: Path
) -> None:
    mine, text = public_key(tmp_path, "mine")
    here.ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=text.encode())
    data = {"write_files": [{"path": "/etc/made", "content": "by cloud-config\n"}], "runcmd": [["touch", "/run/ran"]]}
    instance = here.launch(data=data, KeyName="mine", PrivateIpAddress="10.7.0.20", wait=False)
    first = described(here.ec2, instance)["PublicIpAddress"]
    wait_for(here.ec2, instance, "running")
    seen = described(here.ec2, instance)
    machine = ready(aws, instance)[0]
    assert machine.run("cat /etc/made; ls /run/ran; hostname").stdout == "by cloud-config\n/run/ran\nip-10-7-0-20\n"
    assert machine.run("ip -4 -br address show ens5").stdout.split()[1:] == ["UP", "10.7.0.20/24"]
    card = seen["NetworkInterfaces"][0]
    assert machine.run("cat /sys/class/net/ens5/address").stdout.strip() == card["MacAddress"]
    assert first == seen["PublicIpAddress"] == machine.address
    assert ssh(str(machine.address), "admin", mine, "sudo", "id", "-u").stdout == "0\n"
    assert ssh(str(machine.address), "root", mine, "id", "-u").stdout != "0\n"
    machine.run("timeout 3 bash -c 'exec 3<>/dev/tcp/releases.lab/80'")


def test_each_image_has_its_own_first_user(aws: AwsCloud, here: Site, tmp_path: Path) -> None:
    mine, text = public_key(tmp_path, "mine")
    here.ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=text.encode())
    names = {"ubuntu": "ubuntu/images/hvm-ssd-gp3/*-amd64-*", "ec2-user": "al2023-ami-*-x86_64"}
    made = {
        user: here.launch(ImageId=image(here.ec2, name), KeyName="mine", wait=False) for user, name in names.items()
    }
    for user, instance in made.items():
        wait_for(here.ec2, instance, "running")
        machine = ready(aws, instance)[0]
        assert ssh(str(machine.address), user, mine, "id", "-un").stdout == f"{user}\n"


def test_an_instance_is_pending_first_and_goes_through_stopping_to_stopped_and_on(aws: AwsCloud, here: Site) -> None:
    ec2 = here.ec2
    instance = here.launch(wait=False)
    assert described(ec2, instance)["State"]["Name"] in ("pending", "running")
    wait_for(ec2, instance, "running")
    machine = ready(aws, instance)[0]
    machine.run("echo kept >/etc/kept")
    first = described(ec2, instance)
    ec2.stop_instances(InstanceIds=[instance])
    assert described(ec2, instance)["State"]["Name"] in ("stopping", "stopped")
    wait_for(ec2, instance, "stopped")
    assert not machine.guest.running
    assert "PublicIpAddress" not in described(ec2, instance)
    ec2.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "t3.small"})
    ec2.modify_instance_attribute(InstanceId=instance, UserData={"Value": b"#cloud-config\n"})
    told = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(told) == b"#cloud-config\n"
    ec2.start_instances(InstanceIds=[instance])
    wait_for(ec2, instance, "running")
    again = ready(aws, instance)[0]
    assert again.run("cat /etc/kept").stdout == "kept\n"
    assert again.private_addresses == machine.private_addresses
    assert again.address != first["PublicIpAddress"], "an automatic public address is another one after a stop"
    with refused("IncorrectInstanceState"):
        ec2.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "t3.micro"})
    before = again.run("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d' ' -f22").stdout
    ec2.reboot_instances(InstanceIds=[instance])
    for _ in range(300):
        time.sleep(0.2)
        after = again.run("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d' ' -f22", check=False).stdout
        if after and after != before:
            break
    else:
        pytest.fail("it did not reboot")


def test_an_instance_that_powers_itself_off_is_stopped(aws: AwsCloud, here: Site) -> None:
    instance = here.launch()
    ready(aws, instance)[0].run("systemctl poweroff", check=False)
    wait_for(here.ec2, instance, "stopped")
    with refused("IncorrectInstanceState"):
        here.ec2.terminate_instances(InstanceIds=[instance])
        here.ec2.start_instances(InstanceIds=[instance])


def test_a_replaced_instance_on_the_same_interface_has_the_same_addresses(aws: AwsCloud, here: Site) -> None:
    card = here.card("10.7.1.11", subnet=1)
    public = here.address(card)
    first = here.with_card(card)
    assert described(here.ec2, first)["Placement"]["AvailabilityZone"] == OTHER_ZONE
    with refused("InvalidNetworkInterface.InUse"):
        here.with_card(card)
    with refused("InvalidNetworkInterface.InUse"):
        here.ec2.delete_network_interface(NetworkInterfaceId=card)
    machine = ready(aws, first)[0]
    assert (machine.address, machine.private_addresses) == (public, ("10.7.1.11",))
    here.ec2.terminate_instances(InstanceIds=[first])
    wait_for(here.ec2, first, "terminated")
    assert not machine.guest.root.exists()
    nic = here.ec2.describe_network_interfaces(NetworkInterfaceIds=[card])["NetworkInterfaces"][0]
    assert (nic["Status"], nic["Association"]["PublicIp"]) == ("available", public)
    second = ready(aws, here.with_card(card))[0]
    assert (second.address, second.private_addresses) == (public, ("10.7.1.11",))
    assert second.answers(5)


def test_a_protected_instance_is_not_terminated_and_a_terminated_one_leaves_nothing(aws: AwsCloud, here: Site) -> None:
    ec2 = here.ec2
    disk = {"VolumeSize": 16, "VolumeType": "gp3", "Encrypted": True, "Throughput": 250}
    options = {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    instance = here.launch(
        DisableApiTermination=True,
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": disk}],
        MetadataOptions=options,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "root"}]},
        ],
    )
    volume = ec2.describe_volumes()["Volumes"][0]
    seen = described(ec2, instance)
    assert {key: seen["MetadataOptions"][key] for key in options} == options
    assert (volume["Size"], volume["Encrypted"], volume["Throughput"]) == (16, True, 250)
    assert volume["Tags"] == [{"Key": "Name", "Value": "root"}]
    assert aws.machine("one").guest.running
    with refused("OperationNotPermitted"):
        ec2.terminate_instances(InstanceIds=[instance])
    with refused("OperationNotPermitted"):
        ec2.detach_volume(VolumeId=volume["VolumeId"])
    ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[instance])
    wait_for(ec2, instance, "terminated")
    found = aws.resources()
    assert (found["instances"], found["volumes"], found["network_interfaces"]) == ([], [], [])
    seen = described(ec2, instance)
    assert "PrivateIpAddress" not in seen
    assert seen["NetworkInterfaces"] == []


def test_a_public_address_waits_until_the_instance_is_no_longer_pending(here: Site) -> None:
    card = here.card()
    address = here.ec2.allocate_address(Domain="vpc")["AllocationId"]
    instance = here.with_card(card, wait=False)
    # A machine boots for much longer than this request takes.
    with refused("IncorrectInstanceState"):
        here.ec2.associate_address(AllocationId=address, NetworkInterfaceId=card)
    wait_for(here.ec2, instance, "running")
    here.ec2.associate_address(AllocationId=address, NetworkInterfaceId=card)
