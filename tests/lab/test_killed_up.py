"""A creation that is interrupted by SIGKILL is completed by the next `pulumi up`."""

from collections.abc import Callable

import pytest

from lab import Machine
from tests.support.etcd import assert_serves_all_members, process_ids
from tests.support.machines import Machines
from tests.support.stacks import Stack, Stacks

Moment = Callable[[list[Machine], Stack], Callable[[], bool]]


def _on(machine: int, test: str) -> Moment:
    """The moment when a shell test first succeeds on a machine."""
    return lambda found, _: lambda: found[machine].run(test, check=False, root=True).returncode == 0


def _said(text: str) -> Moment:
    """The moment when the run first prints `text`."""
    return lambda _, stack: lambda: text in stack.log.read_text()


MOMENTS = {
    "while certificates are issued": _said("tls:index:PrivateKey"),
    "while a release is unpacked": _on(1, "test -d /opt/etcd"),
    "when the first etcd was started": _on(
        0, "systemctl is-active -q etcd || systemctl status etcd | grep -q activating"
    ),
    "between two members' starts": _on(1, "test -e /var/lib/etcd/member && exit 0; exit 1"),
    "while members are converged": _said("test-etcd-1-converge created"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_next_up_completes_an_interrupted_creation(machines: Machines, stacks: Stacks, moment: str) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found)
    stack.up_killed_when(MOMENTS[moment](found, stack))

    stack.up()

    assert_serves_all_members(found)
    before = process_ids(found)
    stack.up("--expect-no-changes")
    assert process_ids(found) == before
