"""A cluster for tests of later changes: `pulumi up` bootstraps it once, and each test starts with a copy."""

import pytest

from lab import Machine

from .etcd import OPTIONS
from .machines import Machines
from .stacks import Stack, Stacks

_MEMBERS = 3
_LABEL = "bootstrapped"
_HEALTHY = "for n in $(seq 300); do etcdctl {} endpoint health --cluster && exit; sleep 0.1; done; exit 1"


class Bootstrapped:
    """Three members with the default settings, in this session's lab.

    Machines and state are saved after the bootstrap. From then on machines boot from the saved disks, and the stack
    starts with a copy of the state.
    """

    def __init__(self, machines: Machines, stacks: Stacks) -> None:
        self._machines, self._stacks = machines, stacks
        self._first: Stack | None = None

    def __call__(self, machines: int = _MEMBERS) -> tuple[list[Machine], Stack]:
        """This many machines, with members on the first three, and their stack."""
        if self._first is None:
            found = self._machines.fresh(_MEMBERS)
            first = self._stacks.new(found)
            first.up()
            names = [machine.name for machine in found]
            self._machines.lab.stop(*names)
            self._machines.lab.keep(_LABEL, *names)
            self._first = first
        found = self._machines.fresh(machines, kept=_LABEL, of=_MEMBERS)
        stack = self._stacks.new(found[:_MEMBERS], like=self._first)
        found[0].run(_HEALTHY.format(f"{OPTIONS} --endpoints=https://{found[0].address}:2379"), root=True)
        return found, stack


@pytest.fixture(scope="session")
def bootstrapped(machines: Machines, stacks: Stacks) -> Bootstrapped:
    """Three members that were bootstrapped before this test."""
    return Bootstrapped(machines, stacks)
