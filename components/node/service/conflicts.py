"""Software or settings of others on this machine that conflict with this member's etcd."""

from __future__ import annotations

from ..machine import ports
from ..shared import paths
from ..shared.errors import NodeError
from ..shared.spec import Spec
from . import systemd


def check_unit() -> None:
    """No unit of another etcd must be installed."""
    unit = systemd.foreign_unit()
    if unit is not None:
        raise NodeError(
            f"this machine already has an etcd: {unit} was not written by etcd-node, and is left alone",
            "Use another machine; or, if that etcd is not needed, stop it and remove its package or this file, "
            "then run again.",
        )


def check_ports(spec: Spec) -> None:
    """No other program must listen on the member's ports."""
    metrics = spec.metrics_url.rsplit(":", 1)[-1]
    needed = [spec.client_port, spec.peer_port, *([int(metrics)] if metrics.isdigit() else [])]
    others = ports.foreign_listeners(needed, [spec.address, "127.0.0.1"])
    if spec.metrics_port:
        ours = 1 if paths.METRICS_SOCKET_FILE.exists() else None  # systemd listens for this program
        others += [each for each in ports.foreign_listeners([spec.metrics_port], [spec.address]) if each.pid != ours]
    for taken in others:
        raise NodeError(
            f"port {taken.port} at {taken.address} is taken by process {taken.pid} ({taken.program}), which is "
            "not this member",
            "Stop that program permanently, or use another machine, then run again.",
        )


def check_settings() -> None:
    """Etcd's environment must set nothing: etcd would read settings from it that this program does not know."""
    found = systemd.foreign_variables()
    if found:
        said = ", ".join(f"{name} ({where})" for name, where in found.items())
        raise NodeError(
            f"these environment variables would change etcd's settings: {said}; nothing was changed",
            "Remove these variables there (after a change of a file `systemctl daemon-reload`), then run again. "
            "Settings of etcd belong in the configuration, under `flags`.",
        )
