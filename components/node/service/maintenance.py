"""The timer for what a machine does by itself, if the configuration says so: defragmentation, room after NOSPACE."""

from __future__ import annotations

from ..shared import paths
from ..shared.say import say
from ..shared.spec import Maintenance
from . import systemd

_UNIT = f"""\
# Written by etcd-node (external-etcd); changes here are overwritten.
[Unit]
Description=Defragments etcd's database by rule, and recovers from the alarm NOSPACE
After={paths.UNIT}

[Service]
Type=oneshot
ExecStart={paths.WRAPPER} maintain
Nice=10
"""
# Members look at different times, so that they seldom wait for each other.
_TIMER = """\
# Written by etcd-node (external-etcd); changes here are overwritten.
[Unit]
Description=Looks at etcd's database every two to three minutes

[Timer]
OnActiveSec=120
OnUnitInactiveSec=120
RandomizedDelaySec=60
AccuracySec=1

[Install]
WantedBy=timers.target
"""


def settle(wanted: Maintenance) -> None:
    """Installs and starts the timer, or removes it if the machine must do nothing by itself."""
    if not (wanted.defragment or wanted.recover_space):
        remove()
        return
    units = {paths.MAINTENANCE_TIMER_FILE: _TIMER, paths.MAINTENANCE_UNIT_FILE: _UNIT}
    if systemd.set_up(units, paths.MAINTENANCE_TIMER_WANTED):
        say("looks at its database every two to three minutes")


def remove() -> None:
    """Removes the timer; a run that it has started ends by itself."""
    found = (paths.MAINTENANCE_TIMER_WANTED, paths.MAINTENANCE_UNIT_FILE, paths.MAINTENANCE_TIMER_FILE)
    systemd.take_down(found, paths.MAINTENANCE_TIMER)
