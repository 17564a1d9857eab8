"""The Hetzner emulator with machines: cloud-init, packets, disks. All tests share one scene."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hcloud import Client
from hcloud.firewalls import FirewallResource, FirewallRule
from hcloud.servers import BoundServer
from hcloud.servers.domain import ServerCreatePublicNetwork

from lab import Machine
from lab.clouds import CloudMachine, HetznerCloud
from tests.support.clouds import (
    FSN,
    cloud,
    finish,
    listen,
    make_empty,
    network,
    new_client,
    public_key,
    reaches,
    ready,
    server,
)

__all__ = ["cloud"]

ANYBODY = ["0.0.0.0/0", "::/0"]
PRIVATE = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{}", 5353))
while True:
    s.sendto(*s.recvfrom(99))
"""


@dataclass
class Scene:
    """Two servers in one network, one in its own network with the same addresses, and a stranger."""

    client: Client
    cloud: HetznerCloud
    servers: dict[str, BoundServer]
    machines: dict[str, CloudMachine]
    keys: dict[str, tuple[Path, str]]
    stranger: Machine
    stranger_address: str


@pytest.fixture(scope="module")
def scene(cloud: HetznerCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    client = new_client(cloud)
    make_empty(client)
    keys = {name: public_key(tmp_path_factory.mktemp("keys"), name) for name in ("mine", "host")}
    key = client.ssh_keys.create("mine", keys["mine"][1])
    user = {"name": "ops", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True}
    data = {
        "users": [{**user, "ssh_authorized_keys": [keys["mine"][1]]}],
        "write_files": [{"path": "/etc/made", "content": "by cloud-config\n", "permissions": "0640"}],
        "runcmd": [["touch", "/run/ran"]],
        "ssh_keys": {"ed25519_private": keys["host"][0].read_text(), "ed25519_public": keys["host"][1]},
    }
    one, two = network(client, "one"), network(client, "two")
    servers = {
        "first": server(client, "first", networks=[one], user_data="#cloud-config\n" + json.dumps(data)),
        "second": server(client, "second", networks=[one], ssh_keys=[key]),
        "other": server(client, "other", networks=[two]),
    }
    machines = dict(zip(servers, ready(cloud, *servers.values()), strict=True))
    listen(machines["first"], 2379, 2380, 8080)
    stranger = cloud.stranger()
    yield Scene(client, cloud, servers, machines, keys, stranger, cloud.stranger_address(stranger))
    make_empty(client)


@pytest.fixture
def walled(scene: Scene) -> Iterator[Scene]:
    """The scene; firewalls are removed afterwards."""
    yield scene
    for firewall in scene.client.firewalls.get_all():
        finish(*firewall.remove_from_resources(firewall.applied_to or []))
        firewall.delete()


def wall(scene: Scene, *rules: FirewallRule) -> None:
    made = scene.client.firewalls.create("wall", rules=list(rules)).firewall
    finish(*made.apply_to_resources([FirewallResource(type="server", server=scene.servers["first"])]))


def open_to(scene: Scene, who: str, port: int) -> bool:
    first = scene.machines["first"]
    assert first.address
    if who == "operator":
        return first.answers(10) if port == 22 else pytest.fail("the operator only uses ssh")
    return reaches(scene.stranger if who == "stranger" else scene.machines[who], first.address, port)


def ssh(machine: CloudMachine, user: str, key: Path, known: Path, command: str) -> subprocess.CompletedProcess[str]:
    host_key = machine.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()
    known.write_text(f"{machine.address} {' '.join(host_key[:2])}\n")
    options = {"IdentitiesOnly": "yes", "BatchMode": "yes", "StrictHostKeyChecking": "yes", "ConnectTimeout": "5"}
    argv = ["ssh", "-F", "none", "-i", str(key), "-o", f"UserKnownHostsFile={known}"]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    argv += [f"{user}@{machine.address}", "--", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)


def addresses(machine: CloudMachine) -> dict[str, list[str]]:
    rows = json.loads(machine.run("ip -j -4 address").stdout)
    return {row["ifname"]: [one["local"] for one in row["addr_info"]] for row in rows}


# -- cloud-init -------------------------------------------------------------------------------------------------------


def test_a_server_boots_with_its_user_data_host_key_and_addresses(scene: Scene, tmp_path: Path) -> None:
    machine, made = scene.machines["first"], scene.servers["first"]
    seen = machine.run("cat /etc/made; stat -c %a /etc/made; ls /run/ran; hostname").stdout.split("\n")
    assert seen[:4] == ["by cloud-config", "640", "/run/ran", "first"]
    assert made.public_net
    assert made.public_net.ipv4
    assert made.private_net
    private = made.private_net[0]
    assert addresses(machine) | {"lo": []} == {"lo": [], "eth0": [made.public_net.ipv4.ip], "enp7s0": [private.ip]}
    card = machine.run("cat /sys/class/net/enp7s0/address /sys/class/net/enp7s0/mtu").stdout.split()
    assert card == [private.mac_address, "1450"]
    done = ssh(machine, "ops", scene.keys["mine"][0], tmp_path / "known", "sudo id -u")
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
    assert scene.keys["host"][1].split()[1] in (tmp_path / "known").read_text()
    assert ssh(machine, "root", scene.keys["mine"][0], tmp_path / "known", "true").returncode == 255


def test_a_server_without_user_data_accepts_its_ssh_key_as_root(scene: Scene, tmp_path: Path) -> None:
    machine = scene.machines["second"]
    assert ssh(machine, "root", scene.keys["mine"][0], tmp_path / "known", "hostname").stdout == "second\n"
    machine.run("timeout 3 bash -c 'exec 3<>/dev/tcp/releases.lab/80'")
    assert machine.run("getent hosts second").stdout.split()[0] == "127.0.1.1"
    assert machine.run("systemctl is-system-running --wait").stdout == "running\n"


# -- packets ----------------------------------------------------------------------------------------------------------


def test_a_firewall_admits_only_what_its_rules_allow(walled: Scene) -> None:
    assert open_to(walled, "stranger", 22), "without a firewall the public side is open"
    operator, second = f"{walled.cloud.public[1]}/32", f"{walled.machines['second'].address}/32"
    wall(
        walled,
        FirewallRule("in", "tcp", [operator], port="22"),
        FirewallRule("in", "tcp", [second, "2001:db8::/32"], port="2379-2380"),
    )
    asked = [("operator", 22), ("stranger", 22), ("second", 22), ("stranger", 2379)]
    asked += [("second", port) for port in (2379, 2380, 8080)]
    assert [open_to(walled, who, port) for who, port in asked] == [True, False, False, False, True, True, False]


def test_changed_and_removed_rules_take_effect_immediately(walled: Scene) -> None:
    wall(walled)
    ping = f"timeout 3 ping -c 1 -W 1 {walled.machines['first'].address}"
    second = walled.machines["second"]
    assert not open_to(walled, "stranger", 8080)
    assert second.run(ping, check=False).returncode != 0
    firewall = walled.client.firewalls.get_all()[0]
    here = FirewallRule("in", "tcp", [f"{walled.stranger_address}/32"], port="8080")
    finish(*firewall.set_rules([here, FirewallRule("in", "icmp", ANYBODY)]))
    assert open_to(walled, "stranger", 8080)
    assert not open_to(walled, "second", 8080)
    assert second.run(ping, check=False).returncode == 0
    firewall.reload()
    finish(*firewall.remove_from_resources(firewall.applied_to or []))
    assert open_to(walled, "second", 8080)


def test_answers_to_a_servers_requests_pass_its_firewall(walled: Scene) -> None:
    wall(walled)
    first = walled.machines["first"]
    assert reaches(first, walled.stranger_address, 22)
    assert reaches(first, "releases.lab", 80)
    first.run(f"ping -c 1 -W 2 {walled.stranger_address}")
    walled.stranger.run(["systemd-run", "--quiet", "python3", "-c", ECHO.format(walled.stranger_address)], root=True)
    for _ in range(20):
        done = first.run(f"echo hello | timeout 1 nc -u -w 1 {walled.stranger_address} 5353", check=False)
        if done.stdout:
            break
    assert done.stdout == "hello\n"


def test_a_private_network_is_unfiltered_and_isolated(walled: Scene) -> None:
    wall(walled)
    first, second, other = (walled.machines[name] for name in ("first", "second", "other"))
    assert reaches(second, first.private_addresses[0], 2379)
    assert reaches(second, first.private_addresses[0], 22)
    assert first.private_addresses == other.private_addresses, "two networks may have the same range"
    assert not reaches(walled.stranger, first.private_addresses[0], 22)
    assert not reaches(other, second.private_addresses[0], 22), "nor from another network"


def test_public_ipv6_addresses_are_reachable_and_filtered(walled: Scene) -> None:
    public = walled.servers["first"].public_net
    assert public
    assert public.ipv6
    line = f"timeout 2 nc -6 -z -w 2 {public.ipv6.ip.removesuffix('/64')}1 22"
    second = walled.machines["second"]
    assert second.run(line, check=False).returncode == 0
    wall(walled, FirewallRule("in", "tcp", ["0.0.0.0/0"], port="22"))
    assert second.run(line, check=False).returncode != 0


# -- disks -------------------------------------------------------------------------------------------------------------


def test_a_volume_detached_during_writes_keeps_synced_data(scene: Scene) -> None:
    disk = scene.client.volumes.create(10, "data", location=FSN).volume
    first, second = scene.machines["first"], scene.machines["second"]
    finish(disk.attach(scene.servers["first"]))
    assert first.run(f"blkid {disk.linux_device}", check=False).stdout == "", "it is empty"
    first.run(f"mkfs.ext4 -q {disk.linux_device} && mount {disk.linux_device} /mnt && echo synced >/mnt/file")
    first.run("sync /mnt/file")
    finish(disk.resize(12))
    assert int(first.run(f"blockdev --getsize64 {disk.linux_device}").stdout) == 12 * 1024**3
    writer = "exec 3>/mnt/log; while echo x >&3 && sync /mnt/log; do sleep 0.05; done; touch /run/failed; sleep 600"
    first.run(["systemd-run", "--quiet", "bash", "-c", writer])
    first.run("until test -s /mnt/log; do sleep 0.05; done")
    finish(disk.detach())
    finish(disk.attach(scene.servers["second"]))
    assert first.run(f"ls {disk.linux_device}", check=False).returncode != 0
    first.run("for n in $(seq 50); do test -e /run/failed && exit; sleep 0.1; done; exit 1")
    assert second.run(f"mount {disk.linux_device} /mnt && cat /mnt/file && umount /mnt").stdout == "synced\n"
