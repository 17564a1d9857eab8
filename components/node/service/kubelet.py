"""Start, stop and look at the static pod. The kubelet notices the manifest; every wait here is for the process.

`install` writes what the next start publishes, as `systemd.install` writes a unit: it starts and stops nothing. A start
publishes it, with the permission if there is one. A restart takes the manifest away first, and waits until the kubelet
has cleaned up: beside an old pod of the same name it would start the new one only after its next retry, seconds later.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import time
from pathlib import Path

from ..machine import pod_process
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import until
from . import static_pod, systemd
from .systemd import Service

LOGS = f"/var/log/pods/{static_pod.NAMESPACE}_{static_pod.NAME}-*/etcd/*.log"
"""The log of every run of the pod, as a pattern. The names of the files count from 0."""
_PODS = Path("/var/lib/kubelet/pods")
_FLAGS = re.compile(r'BOOTSTRAP_FLAGS="(.*)"')
_STOP_SECONDS = 45.0
_DRAIN_SECONDS = 2.5
"""The kubelet notices a missing manifest within a second. See `systemd.wait_gone` for why an etcd that stops is killed.
"""
_CLEAN_SECONDS = 15.0
_FORGET_SECONDS = 2.1
"""The kubelet forgets a pod in one of its rounds, every 2 s; it may have removed the pod's directory in the one before.
"""


def runs_here() -> bool:
    """Whether the kubelet is etcd's service manager on this machine."""
    return paths.POD.exists()


def show() -> Service:
    """One look at the pod, in systemd's words."""
    pid, wanted = pod_process.find(), paths.MANIFEST.exists()
    active = ("active" if pid else "activating") if wanted else ("deactivating" if pid else "inactive")
    return Service(
        active=active,
        sub="static pod",
        pid=pid,
        restarts=_restarts(),
        result="",
        loaded=paths.POD.exists(),
        needs_reload=False,
        has_job=wanted != bool(pid),
    )


def install(text: str, data: str) -> None:
    """Writes what the next start publishes. Starts and stops nothing.

    Args:
        text: from `static_pod.render`.
        data: the data directory.
    """
    files.symlink(paths.POD_LOG, Path(data) / "member" / "wal")
    if not paths.POD_START.is_symlink():
        files.symlink(paths.POD_START, paths.POD_LOG)
    files.write(paths.POD, text, 0o600)


def uninstall() -> None:
    """Removes all of it. The pod must be stopped."""
    for path in (paths.MANIFEST, files.unfinished(paths.MANIFEST), paths.POD, paths.POD_START, paths.POD_LOG):
        files.remove(path)


def forbid() -> None:
    """From now on the pod starts only with a log."""
    if paths.POD_START.is_symlink() and paths.POD_START.readlink() != paths.POD_LOG:
        files.symlink(paths.POD_START, paths.POD_LOG)


def start() -> None:
    """Publishes the manifest without waiting for the pod."""
    text = files.read_bytes(paths.POD)
    if text is None:
        raise NodeError(f"{paths.POD} does not exist, so the kubelet has no pod to run", "Run `pulumi up`.")
    found = _FLAGS.search((files.read_bytes(paths.BOOTSTRAP) or b"").decode())
    files.symlink(paths.POD_START, paths.RUN if found else paths.POD_LOG)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    files.directory(paths.MANIFEST.parent)
    files.write(paths.MANIFEST, static_pod.published(text.decode(), found[1].split() if found else (), now), 0o600)
    _need_kubelet()


def begin_stop() -> None:
    """Takes the manifest away without waiting."""
    files.remove(paths.MANIFEST)
    _need_kubelet()


def stop() -> None:
    """Takes the manifest away, and waits until there is neither a process nor a pod.

    Raises:
        NodeError: a process is still running, so its data must not be touched.
    """
    if not paths.MANIFEST.exists() and not pod_process.find() and not _pods():
        return
    begin_stop()
    # A kubelet that is slow to notice may start another process meanwhile.
    seen: dict[int, float] = {}
    ended = cleaned = _STOP_SECONDS
    for left in until(_STOP_SECONDS, every=0.1):
        if pid := pod_process.find():
            if seen.setdefault(pid, left) - left > _DRAIN_SECONDS:
                systemd.kill(pid)
            ended = cleaned = left
        elif _pods():
            cleaned = left
        if cleaned - left > _FORGET_SECONDS or ended - left > _CLEAN_SECONDS:
            return
    if pid := pod_process.find():
        raise NodeError(
            f"the static pod of etcd could not be stopped (pid {pid})", "See `journalctl -u kubelet`, then run again."
        )


def restart() -> None:
    """Stops the pod, and publishes a new one without waiting for it."""
    stop()
    start()


def wait_gone(pid: int) -> None:
    """Waits until a stopping process is gone, and kills it when it has had time to end its requests."""
    for left in until(_STOP_SECONDS, every=0.05):
        if not systemd.alive(pid):
            return
        if left < _STOP_SECONDS - _DRAIN_SECONDS:
            systemd.kill(pid)
    raise NodeError(f"the old etcd process {pid} does not end", "See `journalctl -u kubelet` on the machine.")


def journal() -> str:
    """The pod's last errors, else its last lines; those of the kubelet if the pod has none. For an error message."""
    lines: list[str] = []
    for log in _own_logs()[-2:]:
        with contextlib.suppress(OSError):
            lines += [line.split(" ", 3)[-1] for line in log.read_text(errors="replace").splitlines()[-150:]]
    if not lines:
        since = ["--since", f"@{int(time.time()) - 60}"]
        said = run(["journalctl", "--no-pager", "-q", "-o", "cat", *since, "-u", paths.KUBELET_UNIT], 20, check=False)
        lines = [line for line in said.stdout.splitlines() if "etcd" in line and line.startswith("E")]
    return "\n".join(f"  | {line}" for line in systemd.telling(lines, 8))


def _own_logs() -> list[Path]:
    """The logs of the pod that was started last, in their order."""
    try:
        begin = paths.MANIFEST.stat().st_mtime
    except OSError:
        return []
    found = [log for log in Path("/").glob(LOGS.lstrip("/")) if log.stem.isdigit()]
    with contextlib.suppress(OSError):
        return sorted(
            (log for log in found if log.parent.stat().st_mtime >= begin), key=lambda log: (log.stat().st_mtime, log)
        )
    return []


def _pods() -> list[Path]:
    """What the kubelet has not cleaned up yet."""
    return list(_PODS.glob("*/containers/etcd"))


def _restarts() -> int:
    return max((int(log.stem) for log in _own_logs()), default=0)


def _need_kubelet() -> None:
    run(["systemctl", "start", "--no-block", paths.KUBELET_UNIT], 20)
