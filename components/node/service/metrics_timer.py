"""The metrics of the operator's side, if Prometheus is configured: the timer that has them written, and the socket on
which the machine serves them.

systemd listens, and starts a shell for each connection. So no process waits, and none of Python starts for a scrape.
"""

from __future__ import annotations

from ..shared import files, paths
from ..shared.say import say
from ..shared.spec import Spec, bracketed
from . import systemd, unit

_SERVICE = f"""\
{unit.MARK}; changes here are overwritten. Yours go to {paths.METRICS_UNIT}.d/*.conf, such as another directory.
[Unit]
Description=Metrics of what etcd does not know: certificates, snapshots, restores, versions
# Where they are served. So that one that systemd has closed, because of too many connections, opens again.
Wants={paths.METRICS_SOCKET}

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


def answer_unit() -> str:
    """The unit that answers one connection, which is its input and output.

    It reads the whole request: otherwise the kernel resets the connection, and the answer may be lost.
    """
    return rf"""{unit.MARK}; changes here are overwritten.
[Unit]
Description=Serves metrics of what etcd does not know
CollectMode=inactive-or-failed

[Service]
ExecStart=/bin/sh -c ' \
  answer() {{ \
    printf "HTTP/1.1 %%s\\r\\nContent-Type: text/plain; version=0.0.4\\r\\nConnection: close\\r\\n" "$$1"; \
    printf "Content-Length: %%s\\r\\n\\r\\n" $$(($${{#2}} + 1)); \
    [ "$$method" = HEAD ] || printf "%%s\\n" "$$2"; \
    exit 0; \
  }}; \
  read -r method path rest; \
  while IFS= read -r line && [ $${{#line}} -gt 1 ]; do :; done; \
  case "$$method $$path" in \
    "GET /metrics"|"GET /metrics?"*|"HEAD /metrics"|"HEAD /metrics?"*) ;; \
    *) answer "404 Not Found" "only /metrics is here" ;; \
  esac; \
  text=$$(cat {paths.METRICS / paths.METRICS_FILE}) || answer "503 Service Unavailable" "none were written yet"; \
  answer "200 OK" "$$text"'
StandardInput=socket
StandardOutput=socket
# No client writes to the journal.
StandardError=null
# Lengths are in bytes.
Environment=LC_ALL=C
RuntimeMaxSec=5
# Not three lines of systemd in the journal for every scrape.
LogLevelMax=notice
# The user nobody, which owns no file. With a name space and a filter of its own, a scrape costs five times as much.
User=65534
Group=65534
NoNewPrivileges=yes
CapabilityBoundingSet=
MemoryMax=32M
TasksMax=8
# etcd goes before it, and before all connections together: without this, they would share a slice with etcd's weight.
Slice=system.slice
CPUWeight=2
Nice=19
OOMScoreAdjust=500
"""


def socket_unit(spec: Spec) -> str:
    """The unit that listens.

    It is not ordered after the firewall, which is there before any network and after nftables.service. Red Hat's
    nftables.service waits for sockets.target: systemd would break that cycle at boot by leaving out that target.
    """
    return f"""\
{unit.MARK}; changes here are overwritten. Yours go to {paths.METRICS_SOCKET}.d/*.conf.
[Unit]
Description=Where Prometheus reads what etcd does not know

[Socket]
ListenStream={bracketed(spec.address)}:{spec.metrics_port}
# Also before the machine has its address.
FreeBind=yes
Accept=yes
MaxConnections=16
TriggerLimitIntervalSec=10
TriggerLimitBurst=100

[Install]
WantedBy=sockets.target
"""


def settle(spec: Spec) -> None:
    """Installs and starts timer and socket, or removes them. Called when the member has reached its desired state."""
    if not spec.textfile:
        remove()
        return
    paths.CONVERGED.touch(0o600)
    close_unwanted(spec)
    if spec.metrics_port and systemd.set_up(
        {paths.METRICS_SOCKET_FILE: socket_unit(spec), paths.METRICS_ANSWER_FILE: answer_unit()},
        paths.METRICS_SOCKET_WANTED,
    ):
        say(f"serves metrics of its own on port {spec.metrics_port}")
    timer = {paths.METRICS_TIMER_FILE: _TIMER, paths.METRICS_UNIT_FILE: _SERVICE}
    if systemd.set_up(timer, paths.METRICS_TIMER_WANTED):
        say(f"writes metrics to {paths.METRICS} every minute")


def close_unwanted(spec: Spec) -> None:
    """Stops serving where that is not wanted; before the firewall lets everybody reach the port."""
    if not spec.metrics_port:
        _close()


def remove() -> None:
    """Removes timer and socket, and the metrics."""
    _close()
    found = (paths.METRICS_TIMER_WANTED, paths.METRICS_UNIT_FILE, paths.METRICS_TIMER_FILE, paths.CONVERGED)
    systemd.take_down(found, paths.METRICS_TIMER, paths.METRICS_UNIT)
    files.remove_tree(paths.METRICS)


def _close() -> None:
    found = (paths.METRICS_SOCKET_WANTED, paths.METRICS_SOCKET_FILE, paths.METRICS_ANSWER_FILE)
    # Without their file, connections would have no limit any more.
    systemd.take_down(found, paths.METRICS_SOCKET, paths.METRICS_ANSWER_FILE.name.replace("@", "@*"))
