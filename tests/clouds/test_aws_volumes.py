"""Data on volumes, on an emulated AWS: machines come and go, the data and the members stay."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.clouds import CloudMachine
from tests.support.aws_clouds import aws
from tests.support.aws_stacks import KEY, SLOTS, AwsStacks, raise_generation, stacks
from tests.support.cloud_stacks import UP_SECONDS, ask, certificates, leader, members, probing_from, unhealthy
from tests.support.stacks import Stack

__all__ = ["aws", "stacks"]

MARK = "/var/lib/etcd/.etcd-node.json"
DISK = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol*"


@pytest.fixture(scope="module")
def kept(stacks: AwsStacks) -> Stack:
    stack = stacks.new("kept", volume={"size": 4, "protect": False})
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def client(kept: Stack, stacks: AwsStacks) -> Iterator[CloudMachine]:
    yield stacks.beside("client", kept, "eu-central-1a", kept.outputs()["clients_security_group"])
    stacks.remove_beside()


def volume(machine: CloudMachine) -> str:
    """UUID of the file system in which a machine's data are: another one after a format."""
    return machine.run("findmnt --noheadings --output UUID,FSTYPE --target /var/lib/etcd/member").stdout.strip()


def test_two_generations_raised_in_one_update_are_refused_at_preview_with_nothing_but_the_reason(kept: Stack) -> None:
    raise_generation(kept, "etcd-1", "etcd-2")
    try:
        refused = kept.preview(check=False)
    finally:
        raise_generation(kept, "etcd-1", "etcd-2", by=-1)
    assert refused.code != 0
    assert "aws.slots.etcd-2.generation: given etcd-1 from 1 to 2, etcd-2 from 1 to 2" in refused.text
    assert "Raise that of etcd-1 alone, run pulumi up, then raise the next" in refused.text
    assert "Traceback" not in refused.text


def test_a_machine_is_not_replaced_while_another_member_is_down(kept: Stack, stacks: AwsStacks) -> None:
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
    assert kept.outputs()["server_ids"] == ids
    assert machine.guest.init == init


def test_a_raised_generation_replaces_that_machine_alone_and_its_data_come_back_with_the_volume(
    kept: Stack, stacks: AwsStacks, client: CloudMachine, tmp_path: Path
) -> None:
    machines = stacks.members("kept")
    before, servers, had = members(machines[0]), kept.outputs()["server_ids"], certificates(machines[1])
    disk = volume(machines[1])
    ask(leader(machines), "move-leader", f"{before['etcd-2']:x}")
    ask(machines[0], "put", "written", "before")

    raise_generation(kept, "etcd-2")
    # Beside it, what only a raised generation may bring to a machine.
    kept.config[KEY] |= {"instanceType": "t3.large", "image": "ubuntu-24.04", "rootSize": 20}
    with probing_from(client, kept, tmp_path / "probe", planned=True):
        kept.up(timeout=UP_SECONDS)
    after = kept.outputs()["server_ids"]
    assert [slot for slot in SLOTS if servers[slot] != after[slot]] == ["etcd-2"]
    back = stacks.machine("kept", "etcd-2")
    assert (members(back), certificates(back), volume(back)) == (before, had, disk)
    assert (back.address, back.private_addresses) == (machines[1].address, machines[1].private_addresses)
    assert "before" in ask(back, "get", "written")
    assert kept.up("--expect-no-changes").code == 0


def test_a_terminated_machine_comes_back_with_its_volume_unless_somebody_elses_data_are_on_it(
    kept: Stack, stacks: AwsStacks, client: CloudMachine, tmp_path: Path
) -> None:
    machine = stacks.machine("kept", "etcd-3")
    before, had, disk = members(machine), certificates(machine), volume(machine)
    ask(machine, "put", "written", "before it was lost")
    with probing_from(client, kept, tmp_path / "probe", planned=False):
        # Without the mark they are anybody's.
        machine.run(f"mv {MARK} /var/lib/etcd/precious")
        stacks.terminate(kept, "etcd-3")
        kept.pulumi("refresh", "--yes", "--skip-preview")
        refused = kept.up(check=False, timeout=UP_SECONDS)
        assert refused.code != 0
        assert "and nothing on it says that this is data of etcd-3 of kept; it is untouched" in refused.text

        machine = stacks.machine("kept", "etcd-3")
        machine.run(f"mkdir /mnt/volume && mount {DISK} /mnt/volume")
        there = machine.run("ls -A /mnt/volume").stdout.split()
        assert {"member", "precious"} <= set(there)
        machine.run(f"mv /mnt/volume/precious /mnt/volume/$(basename {MARK}) && umount /mnt/volume")
        kept.up(timeout=UP_SECONDS)
    assert (members(machine), certificates(machine), volume(machine)) == (before, had, disk)
    for slot in SLOTS:
        assert "before it was lost" in ask(stacks.machine("kept", slot), "get", "written")
    assert unhealthy(machine) == []


def test_destroy_takes_the_volumes_too(kept: Stack, stacks: AwsStacks) -> None:
    stacks.remove_beside()
    kept.destroy()
    assert stacks.left() == []
    assert kept.export()["deployment"].get("resources", []) == []
