"""The timer of the metrics of the operator's side, if Prometheus is configured."""

from __future__ import annotations

from ..shared import files, paths
from ..shared.run import run
from ..shared.say import say
from . import systemd, unit

_SERVICE = f"""\
{unit.MARK}; changes here are overwritten. Yours go to {paths.METRICS_UNIT}.d/*.conf, such as another directory.
[Unit]
Description=Metrics of what etcd does not know: certificates, snapshots, restores, versions

[Service]
Type=oneshot
ExecStart={paths.WRAPPER} metrics {paths.METRICS}
TimeoutStartSec=60
# etcd goes before it.
Nice=19
IOSchedulingClass=idle
CPUWeight=10
MemoryHigh=128M
OOMScoreAdjust=500
# Not three lines of systemd in the journal every minute, but errors of the program.
LogLevelMax=notice
SyslogLevel=warning
"""
# Members at different moments: each one asks its own etcd.
_TIMER = f"""\
{unit.MARK}; changes here are overwritten.
[Unit]
Description=When metrics of what etcd does not know are collected: every minute

[Timer]
OnActiveSec=5
OnUnitActiveSec=60
RandomizedDelaySec=5
AccuracySec=1

[Install]
WantedBy=timers.target
"""


def settle(*, wanted: bool) -> None:
    """Installs and starts the timer, or removes it. Called when the member has reached its desired state."""
    if not wanted:
        remove()
        return
    new = [files.write(paths.METRICS_UNIT_FILE, _SERVICE), files.write(paths.METRICS_TIMER_FILE, _TIMER)]
    files.directory(paths.METRICS_TIMER_WANTED.parent)
    files.symlink(paths.METRICS_TIMER_WANTED, paths.METRICS_TIMER_FILE)
    paths.CONVERGED.touch(0o600)
    if systemd.run_timer(paths.METRICS_TIMER, paths.METRICS_UNIT, changed=any(new)):
        say(f"writes metrics to {paths.METRICS} every minute")


def remove() -> None:
    """Removes the timer and the metrics."""
    if not paths.METRICS_TIMER_FILE.exists() and not paths.METRICS_UNIT_FILE.exists():
        return
    run(["systemctl", "stop", paths.METRICS_TIMER, paths.METRICS_UNIT], 20, check=False)
    for path in (paths.METRICS_TIMER_WANTED, paths.METRICS_UNIT_FILE, paths.METRICS_TIMER_FILE, paths.CONVERGED):
        files.remove(path)
    files.remove_tree(paths.METRICS)
    run(["systemctl", "daemon-reload"], 60)
