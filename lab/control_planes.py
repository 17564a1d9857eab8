"""What `lab kubernetes up` checks before it changes anything, and what it says at the end."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.kubeadm import VERSION, programs_folder

from . import image, kubernetes
from .errors import LabError
from .lab import Lab

_MEMORY = 500 << 20
"""Bytes that a control plane needs: its programs take 400 MB soon after they have started."""
_NEEDED = ("kubeadm", "kubeadm_script", "members", "etcdctl")


def require_room(lab: Lab, outputs: Mapping[str, Any] | None, planes: Sequence[str]) -> None:
    """Refuse what would fail later, or begin on the objects of an earlier control plane.

    Args:
        lab: with the members of the external etcd; need not be up for stacked control planes.
        outputs: of the stack whose etcd it is; None for stacked control planes.
        planes: names of the control planes; those that are complete stay.

    Raises:
        LabError: the stack has no outputs, memory does not suffice, a control plane is incomplete or has the other kind
            of etcd, or etcd has objects of another control plane.
    """
    if outputs is not None and (absent := [name for name in _NEEDED if name not in outputs]):
        raise LabError(
            f"The stack of `make up` has no output {', '.join(absent)}, so its first `pulumi up` has not succeeded. "
            "Run `make up` again."
        )
    existing = [name for name in lab.machines if lab.variant(name) is image.KUBERNETES]
    if stopped := [name for name in existing if not lab.machine(name).job.alive()]:
        raise LabError(f"{', '.join(stopped)} must run. Start it with `lab start {' '.join(stopped)}`.")
    if partial := [name for name in existing if not kubernetes.complete(lab.machine(name))]:
        raise LabError(
            f"{', '.join(partial)} is incomplete, because an earlier run failed or was interrupted. "
            "Begin again after `lab kubernetes down`."
        )
    stacked = outputs is None
    if other := [name for name in existing if kubernetes.stacked(lab.machine(name)) != stacked]:
        kinds = ("an external etcd", "a stacked etcd")
        raise LabError(
            f"{', '.join(other)} has {kinds[not stacked]}, so no control plane with {kinds[stacked]} can join. Begin "
            "again after `lab kubernetes down`."
        )
    needed, free = _MEMORY * len([name for name in planes if name not in existing]), _free_memory()
    if needed > free:
        raise LabError(
            f"A control plane needs {_MEMORY >> 20} MiB of memory, so these need {needed >> 20} MiB; {free >> 20} MiB "
            "are free. Give a smaller number."
        )
    if outputs is not None and not existing:
        _require_empty(lab, outputs)


def next_things(lab: Lab, outputs: Mapping[str, Any] | None) -> str:
    """The commands with which to look at a control plane; without outputs, at a stacked one."""
    kubeconfig = f"{os.path.relpath(lab.dir)}/{kubernetes.KUBECONFIG}"
    objects = f"\n  {_on_a_member(outputs)} get /registry/ --prefix --keys-only" if outputs else ""
    return f"""
Kubernetes {VERSION} with {"this" if outputs else "stacked"} etcd. Nodes stay NotReady: there is no pod network. Next:

  export KUBECONFIG={shlex.quote(kubeconfig)} PATH={shlex.quote(str(programs_folder()))}:$PATH
  kubectl get --raw '/readyz?verbose'
  kubectl get nodes{objects}
  python3 -m lab kubernetes down              remove the control planes, not what an external etcd has stored"""


def _require_empty(lab: Lab, outputs: Mapping[str, Any]) -> None:
    member = lab.machine(outputs["members"][0]["name"])
    asked = member.run(f"{_etcdctl(outputs)} get /registry/ --prefix --keys-only --limit=1", root=True, check=False)
    if asked.returncode:
        raise LabError(f"etcd does not answer on {member.name}: {asked.stderr.strip()}\nRun `make up` to repair it.")
    if asked.stdout.strip():
        raise LabError(
            "etcd has the objects of an earlier control plane under /registry/. A new one would take over its nodes "
            f"and tokens. Delete them, and try again:\n  {_on_a_member(outputs)} del /registry/ --prefix"
        )


def _etcdctl(outputs: Mapping[str, Any]) -> str:
    """etcdctl with the options for this cluster, without a command."""
    return re.sub(r" endpoint status.*", "", str(outputs["etcdctl"]))


def _on_a_member(outputs: Mapping[str, Any]) -> str:
    return f"python3 -m lab ssh {outputs['members'][0]['name']} -- sudo {_etcdctl(outputs)}"


def _free_memory() -> int:
    """Bytes that new processes can get without swapping."""
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else _MEMORY
