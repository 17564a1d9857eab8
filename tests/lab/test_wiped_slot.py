"""A machine that lost its disk rejoins with one edit and one `pulumi up`, in any slot; or the run is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import OPTIONS, assert_serves_all_members, etcdctl, member_list, process_ids
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual, manual
from tests.support.prober import probed_up, probing
from tests.support.stacks import Stack, Stacks, machine_config
from tests.support.waiting import every

KEYS = 100  # within etcd's limit of 128 operations per transaction


@pytest.fixture(scope="module")
def cluster(bootstrapped: Bootstrapped) -> tuple[list[Machine], Stack]:
    found, stack = bootstrapped()
    write_keys(found[0])
    return found, stack


def write_keys(machine: Machine) -> None:
    options = f"{OPTIONS} --endpoints=https://{machine.address}:2379"
    puts = "".join(f"put data/{number:03} {number}\n" for number in range(KEYS))
    # One transaction: no comparisons, these operations, no alternative.
    machine.run(f"etcdctl {options} txn", input=f"\n{puts}\n\n", root=True)
    assert _own_keys(machine) == KEYS


def _own_keys(machine: Machine) -> int:
    """The number of keys in this member's own data."""
    said = etcdctl(machine, "get", "data/", "--prefix", "--count-only", "--consistency=s", "--write-out=fields")
    return int(said.rsplit('"Count" : ', 1)[1].split()[0])


def _another(stack: Stack, wiped: Sequence[Machine]) -> None:
    """The edit if the new machine has the old one's host key: these slots have new machines."""
    names = {machine.name for machine in wiped}
    stack.config["machines"] = [
        {**entry, "identity": f"{entry.get('identity', '')}+"} if entry["name"] in names else entry
        for entry in stack.config["machines"]
    ]


def _new_host_key(stack: Stack, wiped: Sequence[Machine]) -> None:
    """The edit if a machine was reinstalled: only its host key."""
    new = {machine.name: machine_config(machine)["ssh"]["hostKey"] for machine in wiped}
    for entry in stack.config["machines"]:
        entry["ssh"]["hostKey"] = new.get(entry["name"], entry["ssh"]["hostKey"])


def _restarts(machine: Machine) -> str:
    """State of etcd's unit or pod, and how often it has been restarted by itself."""
    status = json.loads(machine.run("etcd-node status --json", root=True).stdout)
    return f"{status['restarts']} {status['unit'].partition(' ')[0]}"


def _come_back(
    machines: Machines,
    found: list[Machine],
    stack: Stack,
    wiped: list[Machine],
    *,
    scratch: Path,
    title: str,
    new_host_key: bool = False,
    flags: dict[str, str] | None = None,
) -> None:
    """Wipe machines and let them rejoin; with `flags`, the same edit changes a setting."""
    names = {machine.name for machine in wiped}
    others = [machine for machine in found if machine not in wiped]
    before = process_ids(others)
    authority = others[0].run("sha256sum </etc/etcd/pki/ca.crt", root=True).stdout
    old = {row["name"]: row["ID"] for row in member_list(others[0])}
    machines.lab.wipe(*names, new_host_key=new_host_key)
    found = [machines.lab.machine(machine.name) for machine in found]
    wiped = [machine for machine in found if machine.name in names]

    (_new_host_key if new_host_key else _another)(stack, wiped)
    if flags is not None:
        stack.config["flags"] = flags
    if wiped == found[:1] and not new_host_key:
        assert_as_in_the_manual(stack, "A lost machine or disk")
    run, _ = probed_up(stack, found, scratch, title)

    after = process_ids(others)
    if flags is None:
        assert after == before, "no other member restarts"
    else:
        assert all(after[name] != before[name] for name in before)
        assert run.text.index(f"{wiped[0].name}: is a voter") < run.text.index(f"{others[0].name}: restarts for")
    assert_serves_all_members(found)
    new = {row["name"]: row["ID"] for row in member_list(others[0])}
    for machine in wiped:
        assert new[machine.name] != old[machine.name], "it must not vote with its old ID, whose votes it has forgotten"
        assert _own_keys(machine) == KEYS
        assert machine.run("sha256sum </etc/etcd/pki/ca.crt", root=True).stdout == authority
    assert {_restarts(machine) for machine in found} == {"0 active"}
    ids = {row["name"]: row["id"] for row in stack.outputs()["members"]}
    assert ids == {name: f"{number:x}" for name, number in new.items()}


@pytest.mark.parametrize(("slot", "new_host_key"), [(0, False), (2, True)])
def test_a_wiped_slot_rejoins_as_a_new_member(
    machines: Machines, cluster: tuple[list[Machine], Stack], tmp_path: Path, slot: int, new_host_key: bool
) -> None:
    found, stack = cluster
    title = f"Slot {slot} of 3 wiped"
    _come_back(machines, found, stack, [found[slot]], scratch=tmp_path, title=title, new_host_key=new_host_key)
    found[slot] = machines.lab.machine(found[slot].name)


def test_a_wiped_slot_rejoins_before_a_settings_restarts(
    machines: Machines, cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    """No member restarts while another is missing, so the missing one goes first, although it is last in the list."""
    found, stack = cluster
    flags, title = {"max-txn-ops": "256"}, "Slot 2 of 3 wiped and a setting changed"
    _come_back(machines, found, stack, [found[2]], scratch=tmp_path, title=title, flags=flags)


def test_a_corrupt_member_rejoins_as_the_manual_says(cluster: tuple[list[Machine], Stack], tmp_path: Path) -> None:
    found, stack = cluster
    before = process_ids(found)
    number = next(row["ID"] for row in member_list(found[0]) if row["name"] == found[2].name)
    raised = found[0].run("python3 -", input=_raise_corrupt(found[0], number), root=True).stdout
    assert "CORRUPT" in raised
    stack.config["flags"] = {"max-txn-ops": "512"}
    run = stack.up(check=False)
    assert run.code != 0
    for text in ("alarm activated: CORRUPT", "nothing was restarted", "Data corruption (alarm CORRUPT)"):
        assert text in run.text
    assert process_ids(found) == before

    for _ in every(1, seconds=20):
        done = found[0].run(manual("Data corruption (alarm CORRUPT)", found), root=True, check=False)
        if done.returncode == 0:
            break
        assert "etcdserver: unhealthy cluster" in f"{done.stdout}{done.stderr}", (
            "a member started in the test before this one"
        )
    else:
        pytest.fail("the manual's commands do not succeed")
    _another(stack, found[2:])
    with probing(stack, found[:2], tmp_path, "A member with other data comes back") as probe:
        probe.mark("pulumi up")
        run = stack.up()
    assert f"{found[2].name}: data moved aside to" in run.text
    assert_serves_all_members(found)
    assert [_own_keys(machine) for machine in found] == [KEYS] * 3


def _moved_aside(machine: Machine) -> str:
    return machine.run("ls -d /var/lib/etcd.* 2>/dev/null", check=False, root=True).stdout


def _raise_corrupt(machine: Machine, number: int) -> str:
    """A program that raises the alarm for a member through etcd's gateway: etcdctl has no command for it."""
    body = json.dumps({"action": "ACTIVATE", "memberID": str(number), "alarm": "CORRUPT"})
    return (
        "import ssl, urllib.request as web\n"
        "context = ssl.create_default_context(cafile='/etc/etcd/pki/ca.crt')\n"
        "context.load_cert_chain('/etc/etcd/pki/healthcheck-client.crt', '/etc/etcd/pki/healthcheck-client.key')\n"
        f"url = 'https://{machine.address}:2379/v3/maintenance/alarm'\n"
        f"print(web.urlopen(web.Request(url, data={body.encode()!r}), context=context).read())\n"
    )


def test_a_lost_majority_is_restored_from_the_survivors_data(
    machines: Machines, cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    found, stack = cluster
    wiped, survivor = found[:2], found[2]
    machines.lab.wipe(*[machine.name for machine in wiped])
    before = process_ids([survivor])
    aside = _moved_aside(survivor)
    _another(stack, wiped)

    run = stack.up(check=False)

    assert run.code != 0
    for text in (wiped[0].name, "never bootstrapped again", "restore from a snapshot", "docs/operations.md"):
        assert text in run.text
    assert process_ids([survivor]) == before
    assert _own_keys(survivor) == KEYS
    assert _moved_aside(survivor) == aside
    for machine in wiped:
        assert machine.run("test -e /var/lib/etcd/member", check=False, root=True).returncode != 0
        assert machine.run("systemctl is-active etcd", check=False).stdout.strip() == "inactive"

    survivor.run(manual("A majority was lost", [survivor]), root=True)
    assert _own_keys(survivor) == KEYS
    with probing(stack, [survivor], tmp_path, "A majority comes back") as probe:
        probe.mark("pulumi up")
        stack.up()
    assert_serves_all_members(found)
    assert [_own_keys(machine) for machine in found] == [KEYS] * 3
    stack.up("--expect-no-changes")


def test_two_wiped_machines_of_five_rejoin_in_one_run(machines: Machines, stacks: Stacks, tmp_path: Path) -> None:
    found = machines.fresh(5)
    stack = stacks.new(found)
    stack.up()
    write_keys(found[0])
    _come_back(machines, found, stack, [found[0], found[3]], scratch=tmp_path, title="Two of 5 wiped")
