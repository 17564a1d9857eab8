"""The Hetzner emulator on the computer: the command line, a restart, two clouds at once, nothing left."""

import re

from hcloud import Client

from lab.clouds import HetznerCloud
from tests.support.cloud_lab import command, left
from tests.support.clouds import client, cloud, finish, network, new_client, ready, refused, server
from tests.support.machines import temporary_lab

__all__ = ["client", "cloud"]


def test_the_command_line_starts_shows_and_ends_a_cloud() -> None:
    with temporary_lab("hetzner-command") as lab:
        up = command(lab, "hetzner", "up")
        assert up.returncode == 0, up.stderr
        found = dict(re.findall(r"^export HCLOUD_(ENDPOINT|TOKEN)=(\S+)$", up.stdout, re.MULTILINE))
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", found["ENDPOINT"])
        assert len(found["TOKEN"]) == 64
        assert command(lab, "hetzner", "up").stdout == up.stdout, "a second time changes nothing"
        Client(found["TOKEN"], found["ENDPOINT"]).networks.create("net", "10.0.0.0/16")
        assert re.search(r"^networks +net$", command(lab, "hetzner", "status").stdout, re.MULTILINE)
        assert command(lab, "hetzner", "down").returncode == 0
        assert "no cloud is served" in command(lab, "hetzner", "status").stdout
        assert not lab.dir.exists()


def test_an_interrupted_emulator_goes_on_with_the_same_account(client: Client, cloud: HetznerCloud) -> None:
    wall = client.firewalls.create("wall").firewall
    made = server(client, "one", networks=[network(client)], firewalls=[wall])
    machine = ready(cloud, made)[0]
    boot = machine.run("cat /proc/sys/kernel/random/boot_id").stdout
    before = (cloud.endpoint, cloud.token, cloud.resources())
    cloud.interrupt()
    assert not cloud.running
    assert machine.run("cat /proc/sys/kernel/random/boot_id").stdout == boot, "servers run on"
    cloud.start()
    assert (cloud.endpoint, cloud.token, cloud.resources()) == before
    again = new_client(cloud).servers.get_by_id(made.id or 0)
    assert again.status == "running"
    assert not machine.answers(), "the firewall is still in place"
    finish(again.delete())


def test_two_clouds_at_once_know_nothing_of_each_other(client: Client, cloud: HetznerCloud) -> None:
    network(client)
    with temporary_lab("hetzner-other") as lab:
        other = HetznerCloud(lab.dir).start()
        assert other.public != cloud.public
        assert other.resources()["networks"] == []
        with refused("unauthorized"):
            Client(cloud.token, other.endpoint).networks.get_all()
        one = server(new_client(other), "one", networks=[network(new_client(other))])
        ready(other, one)
        other.stop()
    assert cloud.resources()["networks"] == ["net"]


def test_nothing_is_left_of_a_cloud_with_servers_volumes_and_networks() -> None:
    with temporary_lab("hetzner-left") as lab:
        cloud = HetznerCloud(lab.dir).start()
        client = new_client(cloud)
        made = server(client, "one", networks=[network(client)])
        finish(client.volumes.create(10, "data", server=made).action)
        assert left(lab)
        cloud.stop()
        assert left(lab) == ""
        assert not lab.dir.exists()
