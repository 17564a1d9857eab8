"""Data on volumes, on an emulated Hetzner Cloud: machines come and go, the data and the members stay."""

import re
from pathlib import Path

import pytest

from lab.clouds import CloudMachine
from tests.support.cloud_stacks import UP_SECONDS, ask, certificates, leader, members, probing_from, unhealthy
from tests.support.clouds import cloud
from tests.support.hetzner_stacks import KEY, SLOTS, HetznerStacks, raise_generation, stacks
from tests.support.stacks import Stack

__all__ = ["cloud", "stacks"]

MARK = "/var/lib/etcd/.etcd-node.json"


@pytest.fixture(scope="module")
def kept(stacks: HetznerStacks) -> Stack:
    stack = stacks.new("kept", volume={"size": 10, "protect": False})
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def client(kept: Stack, stacks: HetznerStacks) -> CloudMachine:
    """A machine in the range of the clients."""
    (machine,) = stacks.beside("kept", "10.1.2.9")
    return machine


def volume(machine: CloudMachine) -> str:
    """UUID of the file system in which a machine's data are: another one after a format."""
    return machine.run("findmnt --noheadings --output UUID,FSTYPE --target /var/lib/etcd/member").stdout.strip()


def test_two_generations_raised_in_one_update_are_refused_at_preview_with_nothing_but_the_reason(
    kept: Stack, stacks: HetznerStacks
) -> None:
    raise_generation(kept, "etcd-1", "etcd-2")
    try:
        run = kept.preview(check=False)
        again = kept.up(check=False)
    finally:
        raise_generation(kept, "etcd-1", "etcd-2", by=-1)
    for refused in (run, again):
        assert refused.code != 0
        assert "hetzner.slots.etcd-2.generation: given etcd-1 from 1 to 2, etcd-2 from 1 to 2" in refused.text
        assert "Raise that of etcd-1 alone, run pulumi up, then raise the next" in refused.text
        assert "Traceback" not in refused.text
    assert kept.up("--expect-no-changes").code == 0


def test_a_machine_is_not_replaced_while_another_member_is_down(kept: Stack, stacks: HetznerStacks) -> None:
    ids = kept.outputs()["server_ids"]
    down, machine = stacks.machine("kept", "etcd-1"), stacks.machine("kept", "etcd-2")
    init = machine.guest.init
    down.run("systemctl stop etcd")
    raise_generation(kept, "etcd-2")
    try:
        refused = kept.up(check=False)
    finally:
        raise_generation(kept, "etcd-2", by=-1)
        down.run("systemctl start etcd")
    assert refused.code != 0
    assert "the machine of etcd-2 is to go, but the other members do not carry the cluster without it" in refused.text
    assert "etcd-1: connection refused" in refused.text
    kept.up()
    assert kept.outputs()["server_ids"] == ids
    assert stacks.machine("kept", "etcd-2").guest.init == init
    assert unhealthy(machine) == []


def test_a_raised_generation_replaces_that_machine_alone_after_its_leadership_went_and_its_data_come_back(
    kept: Stack, stacks: HetznerStacks, client: CloudMachine, tmp_path: Path
) -> None:
    machines = stacks.members("kept")
    before, servers, had = members(machines[0]), kept.outputs()["server_ids"], certificates(machines[1])
    disk = volume(machines[1])
    ask(leader(machines), "move-leader", f"{before['etcd-2']:x}")
    assert leader(machines) == machines[1]
    ask(machines[0], "put", "written", "before")

    raise_generation(kept, "etcd-2")
    # Beside it, what only a raised generation may bring to a machine.
    kept.config[KEY]["image"] = "debian-13"
    with probing_from(client, kept, tmp_path / "probe", planned=True):
        kept.up(timeout=UP_SECONDS)
    after = kept.outputs()["server_ids"]
    assert [slot for slot in SLOTS if servers[slot] != after[slot]] == ["etcd-2"]
    back = stacks.machine("kept", "etcd-2")
    assert (members(back), certificates(back), volume(back)) == (before, had, disk)
    assert back.private_addresses == machines[1].private_addresses
    assert "before" in ask(back, "get", "written")
    assert kept.up("--expect-no-changes").code == 0


def test_two_generations_raised_in_one_update_by_an_override_replace_one_machine_and_the_cluster_serves(
    kept: Stack, stacks: HetznerStacks, client: CloudMachine, tmp_path: Path
) -> None:
    ids = kept.outputs()["server_ids"]
    raise_generation(kept, "etcd-1", "etcd-2")
    token = re.search(r"allow-[0-9a-f]{12}", kept.preview(check=False).text)
    assert token is not None
    kept.config["external-etcd:override"] = token[0]
    with probing_from(client, kept, tmp_path / "probe", planned=True):
        refused = kept.up(check=False, timeout=UP_SECONDS)
        assert refused.code != 0
        said = re.search(r"was let go at \S+ and is not back yet; the machine of (\S+) stays as it is", refused.text)
        # The gate of etcd-1 asks etcd-2, whose machine may be gone by then and say nothing.
        stays = "etcd-1" if said is None else said[1]
        (gone,) = {"etcd-1", "etcd-2"} - {stays}
        # As the message says.
        del kept.config["external-etcd:override"]
        raise_generation(kept, stays, by=-1)
        kept.up(timeout=UP_SECONDS)
        after = kept.outputs()["server_ids"]
        assert [slot for slot in SLOTS if ids[slot] != after[slot]] == [gone]
        # Its member is back, so the next may go at once.
        raise_generation(kept, stays)
        kept.up(timeout=UP_SECONDS)
    assert unhealthy(stacks.machine("kept", stays)) == []


def test_a_terminated_machine_comes_back_with_its_volume_unless_somebody_elses_data_are_on_it(
    kept: Stack, stacks: HetznerStacks, client: CloudMachine, tmp_path: Path
) -> None:
    machine = stacks.machine("kept", "etcd-3")
    before, had, disk = members(machine), certificates(machine), volume(machine)
    ask(machine, "put", "written", "before it was lost")
    with probing_from(client, kept, tmp_path / "probe", planned=False):
        # Without the mark they are anybody's.
        machine.run(f"mv {MARK} /var/lib/etcd/precious")
        stacks.terminate("kept", "etcd-3")
        kept.pulumi("refresh", "--yes", "--skip-preview")
        refused = kept.up(check=False, timeout=UP_SECONDS)
        assert refused.code != 0
        assert "and nothing on it says that this is data of etcd-3 of kept; it is untouched" in refused.text

        machine = stacks.machine("kept", "etcd-3")
        machine.run("mkdir /mnt/volume && mount /dev/disk/by-id/scsi-0HC_Volume_* /mnt/volume")
        there = machine.run("ls -A /mnt/volume").stdout.split()
        assert {"member", "precious"} <= set(there)
        machine.run(f"mv /mnt/volume/precious /mnt/volume/$(basename {MARK}) && umount /mnt/volume")
        kept.up(timeout=UP_SECONDS)
    assert (members(machine), certificates(machine), volume(machine)) == (before, had, disk)
    for slot in SLOTS:
        assert "before it was lost" in ask(stacks.machine("kept", slot), "get", "written")
    assert unhealthy(machine) == []


def test_destroy_takes_the_volumes_too(kept: Stack, stacks: HetznerStacks) -> None:
    stacks.remove_beside("kept")
    assert len(stacks.cloud.resources()["volumes"]) == 3
    kept.destroy()
    assert stacks.left() == []
    assert kept.export()["deployment"].get("resources", []) == []
