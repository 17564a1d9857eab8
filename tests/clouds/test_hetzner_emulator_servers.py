"""The Hetzner emulator's servers: they boot with their user data, and do what the API says."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hcloud import Client
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer
from hcloud.servers.domain import ServerCreatePublicNetwork

from lab.clouds import CloudMachine, HetznerCloud
from tests.support.clouds import CX, DEBIAN, client, cloud, finish, network, public_key, ready, refused, server

__all__ = ["client", "cloud"]

PRIVATE = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)


def ssh(machine: CloudMachine, user: str, key: Path, known: Path, command: str) -> subprocess.CompletedProcess[str]:
    options = {"IdentitiesOnly": "yes", "BatchMode": "yes", "StrictHostKeyChecking": "yes", "ConnectTimeout": "5"}
    argv = ["ssh", "-F", "none", "-i", str(key), "-o", f"UserKnownHostsFile={known}"]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    argv += [f"{user}@{machine.address}", "--", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)


def addresses(machine: CloudMachine) -> dict[str, list[str]]:
    rows = json.loads(machine.run("ip -j -4 address").stdout)
    return {row["ifname"]: [one["local"] for one in row["addr_info"]] for row in rows}


def wait_for(one: BoundServer, status: str) -> None:
    for _ in range(300):
        one.reload()
        if one.status == status:
            return
        time.sleep(0.1)
    pytest.fail(f"{one.name} is {one.status}, not {status}")


def test_a_server_boots_with_its_user_data_host_key_and_addresses(
    client: Client, cloud: HetznerCloud, tmp_path: Path
) -> None:
    mine, my_text = public_key(tmp_path, "mine")
    host_key, host_text = public_key(tmp_path, "host")
    data = {
        "users": [
            {"name": "ops", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True, "ssh_authorized_keys": [my_text]}
        ],
        "write_files": [{"path": "/etc/made", "content": "by cloud-config\n", "permissions": "0640"}],
        "runcmd": [["touch", "/run/ran"]],
        "ssh_keys": {"ed25519_private": host_key.read_text(), "ed25519_public": host_text},
    }
    net = network(client)
    made = server(
        client, "one", user_data="#cloud-config\n" + json.dumps(data), networks=[net], labels={"etcd": "true"}
    )
    machine = ready(cloud, made)[0]
    assert made.status == "running"
    assert machine.run("cat /etc/made; stat -c %a /etc/made; ls /run/ran; hostname").stdout.split("\n")[:4] == [
        "by cloud-config",
        "640",
        "/run/ran",
        "one",
    ]
    assert made.public_net
    assert made.private_net
    assert made.public_net.ipv4
    assert addresses(machine)["eth0"] == [made.public_net.ipv4.ip]
    assert addresses(machine)["enp7s0"] == [made.private_net[0].ip]
    assert machine.run("cat /sys/class/net/enp7s0/address /sys/class/net/enp7s0/mtu").stdout.split() == [
        made.private_net[0].mac_address,
        "1450",
    ]
    known = tmp_path / "known"
    known.write_text(f"{machine.address} {' '.join(host_text.split()[:2])}\n")
    done = ssh(machine, "ops", mine, known, "sudo id -u")
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
    assert ssh(machine, "root", mine, known, "true").returncode == 255


def test_a_server_without_user_data_lets_the_given_ssh_key_in_as_root(
    client: Client, cloud: HetznerCloud, tmp_path: Path
) -> None:
    mine, text = public_key(tmp_path)
    key = client.ssh_keys.create("mine", text)
    machine = ready(cloud, server(client, "one", ssh_keys=[key]))[0]
    known = tmp_path / "known"
    host_key = machine.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
    known.write_text(f"{machine.address} {' '.join(host_key.split()[:2])}\n")
    assert ssh(machine, "root", mine, known, "hostname").stdout == "one\n"


def test_a_server_reaches_the_release_mirror_and_its_name_is_known(client: Client, cloud: HetznerCloud) -> None:
    machine = ready(cloud, server(client, "one"))[0]
    machine.run("timeout 3 bash -c 'exec 3<>/dev/tcp/releases.lab/80'")
    assert machine.run("getent hosts one").stdout.split()[0] == "127.0.1.1"
    assert machine.run("systemctl is-system-running --wait").stdout == "running\n"


def test_a_server_is_attached_to_networks_and_detached_while_it_runs(client: Client, cloud: HetznerCloud) -> None:
    first, second = network(client), network(client, "other", "192.168.0.0/16", "192.168.5.0/24")
    made = server(client, "one")
    machine = ready(cloud, made)[0]
    finish(made.attach_to_network(first, ip="10.0.1.20", ip_range="10.0.1.0/24"))
    finish(made.attach_to_network(second, alias_ips=["192.168.5.77"]))
    made.reload()
    nets = {net.network.id: net for net in made.private_net or []}
    assert nets[first.id].ip == "10.0.1.20"
    assert nets[second.id].alias_ips == ["192.168.5.77"]
    assert addresses(machine)["enp7s0"] == ["10.0.1.20"]
    assert addresses(machine)["enp8s0"] == [nets[second.id].ip]
    finish(made.detach_from_network(first))
    assert "enp7s0" not in addresses(machine)
    finish(made.change_alias_ips(second, []))
    made.reload()
    assert [net.alias_ips for net in made.private_net or []] == [[]]
    assert [action.command for action in made.get_actions()][-4:] == [
        "attach_to_network",
        "attach_to_network",
        "detach_from_network",
        "change_alias_ips",
    ]


def test_a_private_server_is_made_off_attached_and_powered_on(client: Client, cloud: HetznerCloud) -> None:
    net = network(client)
    made = server(client, "one", public_net=PRIVATE, start_after_create=False)
    assert made.status == "off"
    with refused("service_error"):
        made.power_on()
    finish(made.attach_to_network(net, ip="10.0.1.30"))
    finish(made.power_on())
    machine = ready(cloud, made)[0]
    assert addresses(machine) == {"lo": ["127.0.0.1"], "enp7s0": ["10.0.1.30"]}
    assert machine.address is None
    assert cloud.resources()["primary_ips"] == []


def test_power_is_cut_given_and_pressed(client: Client, cloud: HetznerCloud) -> None:
    made = server(client, "one")
    machine = ready(cloud, made)[0]
    machine.run("echo kept >/etc/kept")
    boots = machine.run("cat /proc/sys/kernel/random/boot_id").stdout

    def booted_anew() -> None:
        nonlocal boots
        assert machine.wait_for_cloud_init() == "done"
        assert machine.run("cat /etc/kept").stdout == "kept\n"
        for _ in range(100):
            now = machine.run("cat /proc/sys/kernel/random/boot_id").stdout
            if now != boots:
                boots = now
                return
            time.sleep(0.1)
        pytest.fail("it did not boot")

    finish(made.power_off())
    wait_for(made, "off")
    finish(made.power_on())
    booted_anew()
    finish(made.reset())
    booted_anew()
    finish(made.shutdown())
    wait_for(made, "off")
    finish(made.power_on())
    booted_anew()
    before = machine.guest.init
    assert machine.run("systemctl reboot", check=False) is not None
    deadline = time.monotonic() + 60
    while machine.guest.init in (None, before):
        assert time.monotonic() < deadline, "the machine is not back"
        time.sleep(0.1)
    ready(cloud, made)
    made.reload()
    assert made.status == "running"
    assert addresses(machine)["eth0"] == [machine.address], "the cable is plugged in again after a reboot from inside"


def test_a_rebuilt_server_has_a_new_disk_and_what_it_had_in_the_account(client: Client, cloud: HetznerCloud) -> None:
    made = server(client, "one", user_data="#cloud-config\nwrite_files: [{path: /etc/made, content: first}]\n")
    machine = ready(cloud, made)[0]
    before = machine.run("cat /etc/machine-id; touch /etc/gone").stdout
    finish(made.rebuild(DEBIAN).action)
    ready(cloud, made)
    assert machine.run("cat /etc/machine-id").stdout != before
    assert machine.run("test ! -e /etc/gone; cat /etc/made").stdout == "first"
    assert cloud.machine("one").address == machine.address


def test_a_deleted_server_takes_its_addresses_and_its_machine_along(client: Client, cloud: HetznerCloud) -> None:
    made = server(client, "one")
    machine = cloud.machine("one")
    finish(made.delete())
    assert client.servers.get_all() == []
    assert cloud.resources()["primary_ips"] == []
    assert not machine.guest.running
    assert not machine.guest.root.exists()
    with refused("not_found"):
        made.reload()


def test_a_server_changes_its_name_labels_and_type(client: Client) -> None:
    made = server(client, "one", start_after_create=False)
    assert made.update(name="two", labels={"a": "b"}).name == "two"
    finish(made.change_type(ServerType(name="cx33"), upgrade_disk=False))
    made.reload()
    assert made.server_type
    assert (made.server_type.name, made.primary_disk_size, made.labels) == ("cx33", 40, {"a": "b"})
    with refused("invalid_server_type"):
        made.change_type(ServerType(name="cax21"), upgrade_disk=False)


def test_a_protected_server_is_neither_deleted_nor_rebuilt(client: Client) -> None:
    made = server(client, "one", start_after_create=False)
    with refused("invalid_input"):
        made.change_protection(delete=True)
    finish(made.change_protection(delete=True, rebuild=True))
    with refused("protected"):
        made.delete()
    with refused("protected"):
        made.rebuild(DEBIAN)


def test_a_server_that_has_an_action_is_locked(client: Client) -> None:
    net = network(client)
    response = client.servers.create("one", CX, DEBIAN)
    assert response.server.locked
    with refused("locked"):
        response.server.attach_to_network(net)
    with refused("locked"):
        response.server.delete()
    finish(response.action, *(response.next_actions or []))
    response.server.reload()
    assert not response.server.locked


def test_a_running_server_is_no_stopped_one(client: Client) -> None:
    group = client.placement_groups.create("group", "spread").placement_group
    made = server(client, "one")
    with refused("server_not_stopped"):
        made.change_type(ServerType(name="cx33"), upgrade_disk=False)
    with refused("server_not_stopped"):
        made.add_to_placement_group(group)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": "under_score"}, "invalid_input"),
        ({"name": "-one"}, "invalid_input"),
        ({"name": "taken"}, "uniqueness_error"),
        ({"server_type": ServerType(name="cx1")}, "invalid_input"),
        ({"server_type": ServerType(name="cax11"), "location": Location(name="ash")}, "invalid_input"),
        ({"image": Image(name="debian-1")}, "invalid_input"),
        ({"image": Image(id=114690389)}, "invalid_input"),
        ({"location": Location(name="fsn9")}, "invalid_input"),
        ({"user_data": "x" * (32 * 1024 + 1)}, "invalid_input"),
        ({"public_net": PRIVATE}, "invalid_input"),
        ({"labels": {"-": ""}}, "invalid_input"),
    ],
    ids=[
        "underscore",
        "dash",
        "name",
        "server type",
        "server type there",
        "image",
        "architecture",
        "location",
        "user data",
        "no network",
        "labels",
    ],
)
def test_a_server_that_cannot_be_is_refused_and_leaves_nothing(
    client: Client, cloud: HetznerCloud, wrong: dict[str, Any], code: str
) -> None:
    server(client, "taken", start_after_create=False)
    before = cloud.resources()
    with refused(code):
        client.servers.create(**{"name": "one", "server_type": CX, "image": DEBIAN, **wrong})
    assert cloud.resources() == before


def test_a_name_of_an_image_means_the_one_of_the_server_types_architecture(client: Client) -> None:
    made = server(client, "one", server_type=ServerType(name="cax11"), start_after_create=False)
    assert made.image
    assert made.image.architecture == "arm"


@pytest.mark.parametrize(
    ("ip", "ip_range", "code"),
    [
        ("10.0.0.1", None, "invalid_input"),
        ("10.0.1.0", None, "ip_not_available"),
        ("10.0.1.255", None, "ip_not_available"),
        ("10.0.1.10", None, "ip_not_available"),
        ("10.0.2.10", None, "invalid_input"),
        ("nonsense", None, "invalid_input"),
        (None, "10.0.3.0/24", "invalid_input"),
    ],
)
def test_an_address_that_is_taken_reserved_or_outside_is_refused(
    client: Client, ip: str | None, ip_range: str | None, code: str
) -> None:
    net = network(client)
    first = server(client, "first", start_after_create=False)
    finish(first.attach_to_network(net, ip="10.0.1.10"))
    second = server(client, "second", start_after_create=False)
    with refused(code):
        second.attach_to_network(net, ip=ip, ip_range=ip_range)
    with refused("server_already_attached"):
        first.attach_to_network(net)


def test_networks_that_overlap_or_have_no_subnet_for_the_server_are_refused(client: Client) -> None:
    net, same = network(client), network(client, "same")
    empty = client.networks.create("empty", "192.168.0.0/16")
    made = server(client, "one", networks=[net], start_after_create=False)
    with refused("networks_overlap"):
        made.attach_to_network(same)
    with refused("no_subnet_available"):
        made.attach_to_network(empty)
    american = server(
        client, "two", server_type=ServerType(name="ccx13"), location=Location(name="ash"), start_after_create=False
    )
    with refused("no_subnet_available"):
        american.attach_to_network(net)
    with refused("not_found"):
        made.detach_from_network(same)
