"""systemd or the kubelet: whichever runs etcd on this machine. Both answer in the same words."""

from __future__ import annotations

from ..shared import files, paths
from ..shared.run import run
from ..shared.spec import KUBELET, SYSTEMD
from . import kubelet, systemd, unit
from .systemd import Service

_FOR_A_POD = {
    "`journalctl -u etcd`": f"`tail {kubelet.LOGS}`",
    "`systemctl start etcd`": "`systemctl start kubelet`",
}


def name() -> str:
    """The service manager that runs etcd here, or ran it last; systemd if none did."""
    return KUBELET if kubelet.runs_here() else SYSTEMD


def show() -> Service:
    """One look at etcd."""
    return kubelet.show() if kubelet.runs_here() else systemd.show()


def start() -> None:
    """Starts etcd without waiting."""
    (kubelet.start if kubelet.runs_here() else systemd.start)()


def restart() -> None:
    """Stops and starts etcd. Waits for neither under systemd; the kubelet's old pod is gone."""
    (kubelet.restart if kubelet.runs_here() else systemd.restart)()


def begin_stop() -> None:
    """Stops etcd without waiting."""
    (kubelet.begin_stop if kubelet.runs_here() else systemd.begin_stop)()


def stop() -> None:
    """Stops etcd and waits until no process of it is left.

    Raises:
        NodeError: a process is still running, so its data must not be touched.
    """
    (kubelet.stop if kubelet.runs_here() else systemd.stop)()


def wait_gone(pid: int) -> None:
    """Waits until a stopping process is gone."""
    (kubelet.wait_gone if kubelet.runs_here() else systemd.wait_gone)(pid)


def journal() -> str:
    """etcd's last errors, for an error message."""
    return kubelet.journal() if kubelet.runs_here() else systemd.journal()


def advice(text: str) -> str:
    """A message that names commands for etcd's unit; under the kubelet, with those for its pod."""
    for words, instead in _FOR_A_POD.items() if kubelet.runs_here() else ():
        text = text.replace(words, instead)
    return text


def uninstall() -> None:
    """Removes unit or pod. Etcd must be stopped."""
    if kubelet.runs_here():
        kubelet.uninstall()
        return
    if (files.read_bytes(paths.UNIT_FILE) or b"").startswith(unit.MARK.encode()):
        files.remove(paths.UNIT_WANTED)
        files.remove(paths.UNIT_FILE)
        run(["systemctl", "daemon-reload"], 60)
