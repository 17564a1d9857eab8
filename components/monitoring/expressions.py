"""PromQL with places for the cluster and for times, so that rules and dashboard have the same expressions.

In an expression, `{ETCD}` selects series that members serve, and `{NODE}` those of `etcd-node`. `[5m]` is a range,
`AGE(3h)` a time in seconds, and `RENEWAL(70)` so many percent of the time in which certificates are renewed.
"""

import re
from collections.abc import Iterable

from . import job

_TIME = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NAME = re.compile(r"([\w:]+)\{(?:ETCD|NODE)\b")
RENEWAL_HOURS = 720
"""The last part of a certificate's lifetime in which `pulumi up` renews it, by default."""
_SCRAPES = 5
"""A range or an age is at least so many scrapes, one a second, if everything happens faster."""


def seconds(text: str) -> int:
    """The seconds in a time such as `15m`."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time: it must be a whole number with s, m, h or d")
    return int(found[1]) * _SECONDS[found[2]]


def time(text: str, speed: float, least: int = 1) -> str:
    """The same time, or a shorter one.

    Args:
        speed: how many times faster everything happens.
        least: the least number of seconds, if it is faster.
    """
    return text if speed == 1 else f"{max(least, round(seconds(text) / speed))}s"


def filled(expression: str, cluster: str, *, speed: float = 1, renewal_hours: int = RENEWAL_HOURS) -> str:
    """An expression as Prometheus reads it.

    Args:
        cluster: its name.
        speed: how many times faster everything happens.
        renewal_hours: the last part of a certificate's lifetime, in which it is renewed.
    """
    node = f'{{cluster="{cluster}"'
    # The operator shortens a job's name to that of a Service, so only its beginning is certain.
    expression = expression.replace("{NODE", node).replace("{ETCD", f'{node},job=~"{job("")}.+"')
    expression = re.sub(r"\[(\w+)\]", lambda found: f"[{time(found[1], speed, _SCRAPES)}]", expression)
    expression = re.sub(r"AGE\((\w+)\)", lambda found: str(seconds(time(found[1], speed, _SCRAPES))), expression)
    return re.sub(r"RENEWAL\((\d+)\)", lambda found: str(renewal_hours * 36 * int(found[1])), expression)


def names(expressions: Iterable[str]) -> set[str]:
    """The metrics and recorded series in expressions."""
    return {found[1] for expression in expressions for found in _NAME.finditer(expression)}
