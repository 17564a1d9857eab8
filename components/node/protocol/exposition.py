"""Prometheus' text format, as node_exporter's textfile collector reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """A value of a gauge."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def text(samples: Iterable[Sample], helps: Mapping[str, str], common: Mapping[str, str]) -> str:
    """The samples, those of a name together, in the order of the names.

    Args:
        helps: name -> text of HELP.
        common: labels of every sample.

    Raises:
        KeyError: a sample's name has no HELP.
    """
    by_name: dict[str, list[str]] = {}
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in {**common, **sample.labels}.items())
        by_name.setdefault(sample.name, []).append(f"{sample.name}{{{labels}}} {sample.value:.15g}\n")
    return "".join(
        f"# HELP {name} {helps[name]}\n# TYPE {name} gauge\n{''.join(lines)}" for name, lines in sorted(by_name.items())
    )


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
