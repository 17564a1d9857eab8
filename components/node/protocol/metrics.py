"""etcd's metrics in Prometheus' text format, and what two samples of them say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

Sample = Mapping[str, float]
"""Name with labels as the page has them -> value, of one member at one moment."""

_BOUND = re.compile(r'le="([^"]+)"')
_LABEL = re.compile(r'="([^"]*)"')


def parse(text: str, names: Sequence[str]) -> dict[str, float]:
    """The series whose names begin with one of `names`; lines that are no series are left out."""
    wanted, found = tuple(names), {}
    for line in text.splitlines():
        if line.startswith(wanted):
            series, _, value = line.rpartition(" ")
            try:
                found[series] = float(value)
            except ValueError:
                continue
    return found


def label(sample: Sample, name: str) -> str:
    """The value of the only label of a series that says something by it, such as etcd_server_version."""
    series = next((series for series, value in sample.items() if series.startswith(name + "{") and value), "")
    found = _LABEL.search(series)
    return found[1] if found else ""


def quantile(share: float, earlier: Sample, later: Sample, name: str) -> float | None:
    """A quantile of a histogram between two samples, interpolated like Prometheus' histogram_quantile.

    Args:
        share: 0.99 for p99.
        name: of the histogram, without `_bucket`; series that differ in other labels are added.

    Returns:
        It, in the histogram's unit; None if nothing happened between the samples.
    """
    counts: dict[float, float] = {}
    for series, value in later.items():
        if series.startswith(f"{name}_bucket") and (bound := _BOUND.search(series)):
            upper = float(bound[1])
            counts[upper] = counts.get(upper, 0.0) + value - earlier.get(series, 0.0)
    total = counts.get(math.inf, 0.0)
    if total <= 0:
        return None
    rank, below, reached = share * total, 0.0, 0.0
    for upper in sorted(counts):
        if counts[upper] >= rank:
            if math.isinf(upper):
                return below
            return below + (upper - below) * (rank - reached) / (counts[upper] - reached)
        below, reached = upper, counts[upper]
    return below
