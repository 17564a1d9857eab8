"""The emulated AWS with machines: cloud-init, packets, disks, power. All tests share one scene."""

from dataclasses import dataclass
from typing import Any

import pytest

from lab import Machine
from lab.clouds import AwsCloud, CloudMachine
from tests.support.aws_clouds import OTHER_ZONE, ZONE, Site, aws, described, ready, refused, site, wait_for
from tests.support.clouds import listen, reaches

__all__ = ["aws"]


@dataclass
class Scene:
    """Two members in two subnets, a client, all with public addresses; and one in another VPC with the same range."""

    aws: AwsCloud
    here: Site
    clients: str
    cards: dict[str, str]
    public: dict[str, str]
    instances: dict[str, str]
    machines: dict[str, CloudMachine]
    outside: Machine


@pytest.fixture(scope="module")
def scene(aws: AwsCloud) -> Scene:
    ec2 = aws.client()
    here, there = site(ec2, public=False), site(ec2, public=False)
    clients = here.new_group("clients")
    here.open(here.group, 2379, UserIdGroupPairs=[{"GroupId": clients}])
    cards = {
        "one": here.card("10.7.0.11"),
        "two": here.card("10.7.1.11", subnet=1),
        "client": here.card("10.7.0.50", groups=[clients]),
        "other": there.card("10.7.0.21"),
    }
    public = {name: (there if name == "other" else here).address(card) for name, card in cards.items()}
    data = {"write_files": [{"path": "/etc/made", "content": "by cloud-config\n"}], "runcmd": [["touch", "/run/ran"]]}
    instances = {name: here.with_card(card, wait=False, data=data) for name, card in cards.items()}
    for instance in instances.values():
        wait_for(ec2, instance, "running")
    machines = dict(zip(instances, ready(aws, *instances.values()), strict=True))
    for name in ("one", "two"):
        listen(machines[name], 2379, 2380)
    return Scene(aws, here, clients, cards, public, instances, machines, aws.stranger())


def volume(ec2: Any) -> tuple[str, str]:
    """A new volume: its id, and its device in a machine."""
    made = ec2.create_volume(AvailabilityZone=ZONE, Size=2, VolumeType="gp3", Encrypted=True)["VolumeId"]
    return made, f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{made.replace('-', '')}"


def test_an_instance_boots_with_its_user_data_and_its_addresses(scene: Scene) -> None:
    machine, seen = scene.machines["one"], described(scene.here.ec2, scene.instances["one"])
    assert machine.run("cat /etc/made; ls /run/ran; hostname").stdout == "by cloud-config\n/run/ran\nip-10-7-0-11\n"
    assert machine.run("ip -4 -br address show ens5").stdout.split()[1:] == ["UP", "10.7.0.11/24"]
    assert machine.run("cat /sys/class/net/ens5/address").stdout.strip() == seen["NetworkInterfaces"][0]["MacAddress"]
    assert seen["PublicIpAddress"] == machine.address == scene.public["one"]
    assert machine.answers(5)
    machine.run("timeout 3 bash -c 'exec 3<>/dev/tcp/releases.lab/80'")


def test_two_vpcs_with_the_same_range_are_isolated(scene: Scene) -> None:
    assert reaches(scene.machines["other"], "releases.lab", 80)
    assert not reaches(scene.machines["one"], "10.7.0.21", 22)
    assert not reaches(scene.machines["other"], "10.7.0.11", 22)


def test_a_nat_gateway_only_allows_outgoing_connections(scene: Scene) -> None:
    here, ec2 = scene.here, scene.here.ec2
    table = ec2.create_route_table(VpcId=here.vpc)["RouteTable"]["RouteTableId"]
    private = ec2.create_subnet(VpcId=here.vpc, CidrBlock="10.7.9.0/24", AvailabilityZone=ZONE)["Subnet"]["SubnetId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=private)
    instance = here.launch(SubnetId=private, PrivateIpAddress="10.7.9.30")
    machine = ready(scene.aws, instance)[0]
    assert machine.address is None
    assert not reaches(machine, "releases.lab", 80)

    allocation = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=here.subnets[0], AllocationId=allocation["AllocationId"])
    nat_id = nat["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat_id)
    assert reaches(machine, "releases.lab", 80)
    assert not reaches(scene.outside, allocation["PublicIp"], 22)
    ec2.delete_nat_gateway(NatGatewayId=nat_id)
    assert not reaches(machine, "releases.lab", 80)
    ec2.terminate_instances(InstanceIds=[instance])


def test_a_volume_can_be_attached_resized_and_survives_a_stop(scene: Scene) -> None:
    ec2, first, machine = scene.here.ec2, scene.instances["one"], scene.machines["one"]
    data, link = volume(ec2)
    ec2.attach_volume(VolumeId=data, InstanceId=first, Device="/dev/sdf")
    assert machine.run(["readlink", "-f", link]).stdout == "/dev/nvme1n1\n"
    machine.run(f"mkfs.ext4 -q {link} && mount {link} /mnt && echo kept | tee /mnt/file >/etc/kept && sync")
    ec2.modify_volume(VolumeId=data, Size=3)
    assert machine.run(["blockdev", "--getsize64", link]).stdout == f"{3 * 1024**3}\n"
    far = ec2.create_volume(AvailabilityZone=OTHER_ZONE, Size=2, VolumeType="gp3")["VolumeId"]
    near = volume(ec2)[0]
    for code, asked in (
        ("VolumeInUse", {"VolumeId": data, "InstanceId": scene.instances["client"], "Device": "/dev/sdf"}),
        ("InvalidVolume.ZoneMismatch", {"VolumeId": far, "InstanceId": first, "Device": "/dev/sdg"}),
    ):
        with refused(code):
            ec2.attach_volume(**asked)
    with refused("VolumeInUse"):
        ec2.delete_volume(VolumeId=data)
    with refused("IncorrectState"):
        ec2.detach_volume(VolumeId=near)

    ec2.stop_instances(InstanceIds=[first])
    assert described(ec2, first)["State"]["Name"] in ("stopping", "stopped")
    wait_for(ec2, first, "stopped")
    assert not machine.guest.running
    ec2.start_instances(InstanceIds=[first])
    assert described(ec2, first)["State"]["Name"] in ("pending", "running")
    wait_for(ec2, first, "running")
    assert ready(scene.aws, first)[0].private_addresses == machine.private_addresses
    assert machine.run(f"mount {link} /mnt && cat /etc/kept /mnt/file").stdout == "kept\nkept\n"
    machine.run("umount /mnt")
    ec2.detach_volume(VolumeId=data)
    assert machine.run(f"test -e {link}", check=False).returncode == 1
    listen(machine, 2379, 2380)


def test_a_replaced_instance_keeps_interface_addresses_and_volume(scene: Scene) -> None:
    here, ec2, card = scene.here, scene.here.ec2, scene.cards["client"]
    first, public = scene.instances["client"], scene.public["client"]
    data, link = volume(ec2)
    ec2.attach_volume(VolumeId=data, InstanceId=first, Device="/dev/sdf")
    scene.machines["client"].run(f"mkfs.xfs -q {link} && mount {link} /mnt && echo kept >/mnt/file && sync")
    with refused("InvalidNetworkInterface.InUse"):
        here.with_card(card)
    with refused("InvalidNetworkInterface.InUse"):
        ec2.delete_network_interface(NetworkInterfaceId=card)
    scene.machines["client"].run("systemctl poweroff", check=False)
    wait_for(ec2, first, "stopped")
    ec2.terminate_instances(InstanceIds=[first])
    with refused("IncorrectInstanceState"):
        ec2.start_instances(InstanceIds=[first])
    wait_for(ec2, first, "terminated")
    assert not scene.machines["client"].guest.root.exists()
    assert (
        described(ec2, first)["NetworkInterfaces"],
        ec2.describe_volumes(VolumeIds=[data])["Volumes"][0]["State"],
    ) == ([], "available")
    nic = ec2.describe_network_interfaces(NetworkInterfaceIds=[card])["NetworkInterfaces"][0]
    assert (nic["Status"], nic["Association"]["PublicIp"]) == ("available", public)
    second = scene.instances["client"] = here.with_card(card, wait=False)
    ec2.disassociate_address(AssociationId=nic["Association"]["AssociationId"])
    again = {"AllocationId": nic["Association"]["AllocationId"], "NetworkInterfaceId": card}
    with refused("IncorrectInstanceState"):
        ec2.associate_address(**again)  # this request is faster than the boot
    wait_for(ec2, second, "running")
    ec2.associate_address(**again)
    (machine,) = ready(scene.aws, second)
    scene.machines["client"] = machine
    assert (machine.address, machine.private_addresses) == (public, ("10.7.0.50",))
    ec2.attach_volume(VolumeId=data, InstanceId=second, Device="/dev/sdf")
    machine.run(f"mount {link} /mnt && grep kept /mnt/file")


def test_groups_and_routes_filter_traffic(scene: Scene) -> None:
    """Must be the last test, because it closes the scene's groups."""
    here, ec2, public = scene.here, scene.here.ec2, scene.public
    one, two, client = (scene.machines[name] for name in ("one", "two", "client"))
    peers = here.open(here.group, 2380, UserIdGroupPairs=[{"GroupId": here.group}])
    assert reaches(two, "10.7.0.11", 2380), "members reach each other, also from another subnet"
    assert not reaches(two, "10.7.0.11", 2379)
    assert reaches(client, "10.7.1.11", 2379)
    assert not reaches(client, "10.7.1.11", 2380)
    assert [reaches(scene.outside, public["one"], port) for port in (22, 2379, 2380)] == [True, False, False]
    assert not reaches(client, public["one"], 2379), "traffic from a public address belongs to no group"
    assert reaches(client, public["one"], 22)

    ec2.revoke_security_group_ingress(GroupId=here.group, SecurityGroupRuleIds=[peers])
    assert not reaches(two, "10.7.0.11", 2380)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=scene.cards["client"], Groups=[here.group])
    assert not reaches(client, "10.7.1.11", 2379), "a client that leaves the group loses its access"

    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [here.group]}])
    out = [rule["SecurityGroupRuleId"] for rule in rules["SecurityGroupRules"] if rule["IsEgress"]]
    assert reaches(one, "10.7.1.11", 22)
    ec2.revoke_security_group_egress(GroupId=here.group, SecurityGroupRuleIds=out)
    assert not reaches(one, "10.7.1.11", 22), "without a rule nothing gets out"
    assert reaches(scene.outside, public["one"], 22), "answers do"
    here.open(here.group, 22, direction="egress", IpRanges=[{"CidrIp": "10.7.1.0/24"}])
    assert reaches(one, "10.7.1.11", 22)
    assert not reaches(one, "releases.lab", 80)
    ec2.delete_route(RouteTableId=here.table, DestinationCidrBlock="0.0.0.0/0")
    assert not reaches(scene.outside, public["one"], 22), "without the route there is no way in or out"
