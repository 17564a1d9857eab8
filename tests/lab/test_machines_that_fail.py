"""An unusable machine stops the run in time, with machine, cause and remedy; the next run completes it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, command_line, process_ids
from tests.support.machines import Machines, fill_disk, right_clock, skew_clock
from tests.support.stacks import Stack, Stacks, machine_config


@dataclass(frozen=True)
class Fault:
    """A problem of the second of three machines."""

    cause: Callable[[Machines, Machine, Stack], object]
    cure: Callable[[Machines, Machine, Stack], object]
    within: float
    """Seconds within which the run must fail, as in docs/safety.md."""
    says: tuple[str, ...]
    """Expected in the run's output, besides the name of the machine."""


def _other_host_key(_: Machines, machine: Machine, stack: Stack) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
    _configure(stack, machine, hostKey=other)


def _right_host_key(_: Machines, machine: Machine, stack: Stack) -> None:
    _configure(stack, machine)


def _configure(stack: Stack, machine: Machine, **ssh: str) -> None:
    stack.config["machines"] = [
        machine_config(machine, **ssh) if entry["name"] == machine.name else entry for entry in stack.config["machines"]
    ]


def _foreign_etcd(_: Machines, machine: Machine, __: Stack) -> None:
    # A program that holds the port simulates a foreign etcd.
    machine.run(
        "systemd-run --unit=foreign python3 -c "
        f"'import socket,time; s=socket.create_server((\"{machine.address}\", 2379)); time.sleep(600)'",
        root=True,
    )
    time.sleep(0.5)


ARCHIVE = "v3.6.16/etcd-v3.6.16-linux-amd64.tar.gz"

FAULTS = {
    "unreachable": Fault(
        cause=lambda machines, machine, _: machines.lab.kill(machine.name),
        cure=lambda machines, machine, _: machines.lab.start(machine.name),
        within=90,
        says=("no ssh server answers", "Start the machine"),
    ),
    "wrong host key": Fault(_other_host_key, _right_host_key, within=30, says=("host key", "hostKey")),
    # It precedes faults that need the release, which this machine then has.
    "archive with a wrong checksum": Fault(
        cause=lambda machines, _, __: machines.tampered_mirror({ARCHIVE: b"not the archive"}),
        cure=lambda machines, _, __: machines.lab.mirror(),
        within=90,
        says=("nothing was installed", "SHA-256", "releaseSha256"),
    ),
    "wrong clock": Fault(
        cause=lambda _, machine, __: skew_clock(machine, -7200),
        cure=lambda _, machine, __: right_clock(machine),
        within=90,
        says=("clock", "chrony|timesyncd"),
    ),
    "full disk": Fault(
        cause=lambda _, machine, __: fill_disk(machine, size="64m"),
        cure=lambda _, machine, __: machine.run("umount /var/lib/etcd", root=True),
        within=90,
        says=("a new member needs", "/var/lib/etcd", "free"),
    ),
    "foreign etcd on the client port": Fault(
        cause=_foreign_etcd,
        cure=lambda _, machine, __: machine.run("systemctl stop foreign", root=True),
        within=90,
        says=("2379", "python3"),
    ),
}


def test_each_run_fails_in_time_and_resumes_without_the_fault(machines: Machines, stacks: Stacks) -> None:
    """One fault after another on the same machines; no run fails for the previous fault."""
    found = machines.fresh(3)
    stack = stacks.new(found)
    broken, others = found[1], [found[0], found[2]]
    over = ""
    for name, case in FAULTS.items():
        case.cause(machines, broken, stack)
        run = stack.up(check=False)
        assert run.code != 0, name
        assert run.seconds < case.within, name
        assert broken.name in run.text, name
        for alternatives in case.says:
            assert any(text in run.text for text in alternatives.split("|")), f"none of {alternatives} in:\n{run.text}"
        for machine in others:
            assert machine.run("systemctl is-active etcd", check=False, root=True).stdout.strip() != "active", name
            assert machine.run("test -e /var/lib/etcd/member", check=False, root=True).returncode != 0, name
        assert not over or over not in run.text, f"it still fails as before {name}:\n{run.text}"
        over = case.says[0]
        case.cure(machines, broken, stack)
    stack.up()
    assert_serves_all_members(found)


def test_a_machine_that_dies_later_is_named_and_harms_no_other(machines: Machines, bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    machines.lab.kill(found[2].name)
    before = process_ids(found[:2])

    stack.config["flags"] = {"max-txn-ops": "256"}
    run = stack.up(check=False)

    assert run.code != 0
    assert found[2].name in run.text
    assert process_ids(found[:2]) == before, "no member restarts while another one is down"

    machines.lab.start(found[2].name)
    stack.up()
    assert_serves_all_members(found)
    for machine in found:
        assert "--max-txn-ops=256" in command_line(machine)
