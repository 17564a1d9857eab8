"""One cluster in static pods, in the place of the machines, stacks and clusters that tests have under systemd.

A module that overrides the fixtures with these runs the test functions of other files, unchanged, under the kubelet.
Machines with a kubelet cost time, so each test goes on with the cluster that the test before it has left.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import Lab, Machine, kubernetes
from tools.download import sha256
from tools.kubernetes import ensure_member_image

from .machines import Machines
from .stacks import Stack, Stacks
from .versions import DEFAULT_ETCD


@functools.cache
def image_of(version: str) -> str:
    """The value of `etcdImage` for the archive that the lab's mirror serves."""
    archive = ensure_member_image(version)
    return f"http://releases.lab/images/{archive.name}#sha256={sha256(archive)}"


class PodLab(Lab):
    """A lab whose wiped machines come back with a container runtime that runs, and a kubelet without a task."""

    def wipe(self, *which: str, **options: Any) -> None:
        """As in every lab."""
        super().wipe(*which, **options)
        kubernetes.up_kubelets(self, which)


class PodMachines(Machines):
    """etcd-1, etcd-2, ... of a lab of their own: the same for every test."""

    def fresh(self, count: int = 3, **_: Any) -> list[Machine]:
        """Creates those that do not exist yet; the others stay as they are."""
        there = self.lab.machines
        wanted = [f"etcd-{n}" for n in range(1, count + 1)]
        if new := [name for name in wanted if name not in there]:
            there |= {machine.name: machine for machine in kubernetes.up_kubelets(self.lab, new)}
        return [there[name] for name in wanted]


class PodStack(Stack):
    """A stack whose image is that of its version."""

    def write_config(self) -> None:
        """As for every stack, after the image was chosen."""
        self.config.pop("etcdImage", None)
        if self.config.get("serviceManager") == "kubelet":
            self.config["etcdImage"] = image_of(self.config.get("version", DEFAULT_ETCD))
        super().write_config()


class PodStacks(Stacks):
    """The stack of the cluster: created once, and then the same."""

    kind = PodStack

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._only: Stack | None = None

    def new(self, found: Sequence[Machine], /, *, like: Stack | None = None, **config: Any) -> Stack:
        """The stack, with these keys changed."""
        if self._only is None:
            self._only = super().new(found, like=like, serviceManager="kubelet", **config)
        self._only.config |= config
        return self._only


class PodCluster:
    """In the place of `Bootstrapped`: the cluster as it is."""

    def __init__(self, machines: PodMachines, stacks: PodStacks) -> None:
        self._machines, self._stacks = machines, stacks

    def __call__(self, machines: int = 3) -> tuple[list[Machine], Stack]:
        """This many machines, and the stack."""
        found = self._machines.fresh(machines)
        return found, self._stacks.new(found[:3])
