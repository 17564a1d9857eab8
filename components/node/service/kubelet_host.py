"""The kubelet of this machine as service manager of etcd, as in kubeadm's guide: alone, without an API server.

A kubelet that is a node of a Kubernetes cluster has other masters: it is left alone.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from . import unit

PLACES = (paths.MANIFEST, paths.KUBERNETES_PKI, paths.KUBELET_DROP_IN, paths.KUBELET_CONFIGURATION)
"""What this program creates for the kubelet, besides the pod."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SOCKET = Path("/run/containerd/containerd.sock")
_CRIO = Path("/run/crio/crio.sock")
_OF_A_NODE = tuple(Path("/etc/kubernetes") / name for name in ("kubelet.conf", "bootstrap-kubelet.conf"))
_CGROUPS_V2 = Path("/sys/fs/cgroup/cgroup.controllers")


def check() -> None:
    """Refuses a machine whose kubelet cannot run etcd.

    Raises:
        NodeError: there is no kubelet or container runtime, or the kubelet has another task; nothing was changed.
    """
    program()
    _cgroup_driver()
    for path in _OF_A_NODE:
        if path.exists():
            raise _busy(f"{path} exists")
    for path in (paths.KUBELET_CONFIGURATION, paths.KUBELET_DROP_IN, paths.MANIFEST):
        if path.exists() and not _ours(path):
            raise _busy(f"{path} was not written by this program")
    others = [path.name for path in paths.MANIFEST.parent.glob("*") if path != paths.MANIFEST and path.name[0] != "."]
    if others:
        raise _busy(f"{paths.MANIFEST.parent} holds {', '.join(sorted(others)[:3])}")
    if paths.KUBERNETES_PKI.exists() and not _linked():
        raise NodeError(
            f"{paths.KUBERNETES_PKI} holds certificates that this program did not write; nothing was changed",
            "If they are not needed, move them away, then run again. Otherwise use another machine.",
        )


def check_files(reads: Sequence[str]) -> None:
    """Refuses files of others that etcd's pod would not see: it gets their directories.

    Raises:
        NodeError: one is a link that leads out of its directory; nothing was changed.
    """
    for path in map(Path, reads):
        if path.parent.resolve() not in path.resolve().parents:
            raise NodeError(
                f"{path}, which a flag of etcd names, leads to {path.resolve()}, out of the directory that etcd's pod "
                "gets; nothing was changed",
                "Put the file itself there, or a link within its directory. Then run again.",
            )


def set_up() -> None:
    """Writes the kubelet's configuration, and starts it; restarts it if it differs. Its pods are not affected."""
    for place in PLACES:
        if not place.parent.is_dir():
            files.directory(place.parent)
    files.symlink(paths.KUBERNETES_PKI, paths.PKI)
    changed = files.write(paths.KUBELET_CONFIGURATION, configuration(_cgroup_driver()))
    changed = files.write(paths.KUBELET_DROP_IN, drop_in(program())) or changed
    if not paths.KUBELET_WANTED.is_symlink():
        run(["systemctl", "enable", "--quiet", paths.KUBELET_UNIT], 60)
        files.write(paths.KUBELET_ENABLED, "")
    if changed:
        run(["systemctl", "daemon-reload"], 60)
    run(["systemctl", "restart" if changed else "start", "--no-block", paths.KUBELET_UNIT], 20)


def is_set_up() -> bool:
    """Whether `set_up` has begun here, and `remove` has not ended."""
    return _linked() or _ours(paths.KUBELET_DROP_IN)


def remove() -> None:
    """Takes the kubelet's task away again. Etcd's pod must be gone."""
    if _linked():
        files.remove(paths.KUBERNETES_PKI)
    run(["systemctl", "stop", paths.KUBELET_UNIT], 60, check=False)
    if paths.KUBELET_ENABLED.exists():
        run(["systemctl", "disable", "--quiet", paths.KUBELET_UNIT], 60, check=False)
        files.remove(paths.KUBELET_ENABLED)
    if _ours(paths.KUBELET_CONFIGURATION):
        files.remove(paths.KUBELET_CONFIGURATION)
    # Last: it marks that there is something to remove.
    files.remove(paths.KUBELET_DROP_IN)
    run(["systemctl", "daemon-reload"], 60)


def configuration(driver: str) -> str:
    """The KubeletConfiguration.

    Args:
        driver: the cgroup driver of the container runtime.
    """
    old = "" if _CGROUPS_V2.exists() else "failCgroupV1: false\n"
    return f"""{unit.MARK}; changes here are overwritten.
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: false
authorization:
  mode: AlwaysAllow
cgroupDriver: {driver}
containerRuntimeEndpoint: unix://{_SOCKET}
staticPodPath: {paths.MANIFEST.parent}
# Etcd is all that runs here: it is not evicted when the disk or the memory is full, and its image stays.
evictionHard:
  imagefs.available: 0%
  memory.available: 0%
  nodefs.available: 0%
  nodefs.inodesFree: 0%
imageGCHighThresholdPercent: 100
{old}"""


def drop_in(kubelet: str) -> str:
    """The drop-in of the kubelet's unit.

    Args:
        kubelet: path of the program.
    """
    rules = f"[ ! -e {paths.FIREWALL} ] || exec /usr/sbin/nft -f {paths.FIREWALL}"
    return f"""{unit.MARK}; changes here are overwritten.
[Unit]
After={paths.FIREWALL_UNIT} network-online.target time-sync.target containerd.service
Wants=network-online.target containerd.service
# A kubelet that fails is tried again for ever.
StartLimitIntervalSec=0

[Service]
# Etcd does not start without the rules of who may reach it.
ExecStartPre=/bin/sh -c '{rules}'
ExecStart=
ExecStart={kubelet} --config={paths.KUBELET_CONFIGURATION}
Restart=always
RestartSec=1
"""


def program() -> str:
    """Path of the kubelet.

    Raises:
        NodeError: there is none, or no unit for it.
    """
    found = shutil.which("kubelet", path=_PATH)
    known = run(["systemctl", "show", "--property=LoadState", "--value", paths.KUBELET_UNIT], 20).stdout.strip()
    if found is None or known != "loaded":
        raise NodeError(
            "this machine has no kubelet" + f" as a service ({paths.KUBELET_UNIT} is {known})" * (found is not None),
            "Install the package `kubelet` of your Kubernetes release, 1.27 or later; or set `serviceManager` to "
            "systemd. Then run again.",
        )
    return found


def _cgroup_driver() -> str:
    """The cgroup driver of containerd: kubelet and container runtime must use the same.

    Raises:
        NodeError: containerd does not run, or does not tell.
    """
    if shutil.which("containerd", path=_PATH) is None or not _answers():
        if _CRIO.exists():
            raise NodeError(
                "the container runtime of this machine is CRI-O, and etcd's image is loaded by containerd's tools",
                "Use a machine with containerd; or set `serviceManager` to systemd, which needs no container runtime. "
                "Then run again.",
            )
        raise NodeError(
            f"this machine has no container runtime that runs: containerd does not answer at {_SOCKET}",
            "Install containerd, and start it with `systemctl enable --now containerd`; or set `serviceManager` to "
            "systemd. Then run again.",
        )
    done = run(["containerd", "config", "dump"], 30, check=False)
    said = re.search(r"^\s*SystemdCgroup\s*=\s*(true|false)", done.stdout, re.MULTILINE)
    if done.returncode or said is None:
        cause = f"fails: {done.stderr.strip()[-200:]}" if done.returncode else "names no SystemdCgroup"
        raise NodeError(
            f"the cgroup driver of containerd cannot be told: `containerd config dump` {cause}",
            "Set SystemdCgroup in the runc options of /etc/containerd/config.toml, restart containerd, then run again.",
        )
    return "systemd" if said[1] == "true" else "cgroupfs"


def _answers() -> bool:
    """Whether a process listens on containerd's socket: the file alone stays when one is killed."""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(5)
        connection.connect(str(_SOCKET))
        return True
    return False


def _ours(path: Path) -> bool:
    return (files.read_bytes(path) or b"").startswith(unit.MARK.encode())


def _linked() -> bool:
    return paths.KUBERNETES_PKI.is_symlink() and paths.KUBERNETES_PKI.readlink() == paths.PKI


def _busy(cause: str) -> NodeError:
    return NodeError(
        f"the kubelet of this machine serves a Kubernetes cluster, or was set up for one ({cause}); nothing was "
        "changed",
        "Use another machine, or set `serviceManager` to systemd. If that cluster is gone, `kubeadm reset` removes "
        "what it has left.",
    )
