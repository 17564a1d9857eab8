"""Requests to an API server while its etcd changes, next to the same one at rest, and to one with stacked etcd."""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lab import Lab, Machine, kubernetes
from tests.support.api_load import Load, Report, under_load
from tests.support.machines import Machines, temporary_lab
from tests.support.stacks import REPO, Stack, Stacks, machine_config
from tests.support.versions import ETCD_VERSIONS
from tests.support.waiting import every
from tools.etcd import ensure_etcd

RUNS = 3
REST_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
MEMBERS, LATER = 3, 5
_, OLD, NEW = ETCD_VERSIONS
FLAG = ("max-txn-ops", "256")
_PLANE = "control-1"
_MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
_RESTART_SECONDS = 120.0
# A name, then the reports at rest and during the change.
_Measured = tuple[str, Report, Report]


def _set_flag(stack: Stack, _: list[Machine]) -> None:
    stack.config["flags"] = dict([FLAG])


def _upgrade(stack: Stack, _: list[Machine]) -> None:
    stack.config["version"] = NEW


def _grow(stack: Stack, found: list[Machine]) -> None:
    stack.config["machines"] = [machine_config(machine) for machine in found]


CHANGES: dict[str, Callable[[Stack, list[Machine]], None]] = {
    "A setting, 3 members restart": _set_flag,
    f"{OLD} to {NEW}, with snapshot": _upgrade,
    f"{MEMBERS} to {LATER} members": _grow,
}
STACKED = "A setting, one stacked member restarts"


def main() -> None:
    """Measure, print the table, write `docs/benchmark-kubernetes.json`."""
    for version in (OLD, NEW):
        ensure_etcd(version)
    runs: dict[str, list[tuple[Report, Report]]] = {}
    with temporary_lab("bench") as lab, tempfile.TemporaryDirectory() as scratch:
        machines, stacks = Machines(lab), Stacks(Path(scratch))
        for _ in range(RUNS):
            for measure in (_external(machines, stacks), _stacked(lab)):
                for name, rest, during in measure:
                    print(f"{name}: {rest}\n  {during}", file=sys.stderr, flush=True)
                    runs.setdefault(name, []).append((rest, during))
                kubernetes.down(lab)
    rows = [{"change": name, **_figures(pairs)} for name, pairs in runs.items()]
    print(_table(rows))
    result = {"runs": RUNS, "rest_seconds": REST_SECONDS, "patience_seconds": PATIENCE_SECONDS, "changes": rows}
    (REPO / "docs" / "benchmark-kubernetes.json").write_text(json.dumps(result, indent=2) + "\n")


def _external(machines: Machines, stacks: Stacks) -> Iterator[_Measured]:
    found = machines.fresh(LATER)
    stack = stacks.new(found[:MEMBERS], version=OLD)
    stack.up()
    outputs = stack.outputs()
    (plane,) = kubernetes.up(machines.lab, outputs["kubeadm"], outputs["kubeadm_script"], [_PLANE])
    for name, edit in CHANGES.items():
        rest = _at_rest(plane)
        edit(stack, found)
        yield name, rest, _during(plane, lambda _: stack.up())


def _stacked(lab: Lab) -> Iterator[_Measured]:
    (plane,) = kubernetes.up_stacked(lab, [_PLANE])
    yield STACKED, _at_rest(plane), _during(plane, lambda load: _restart(plane, load))


def _restart(plane: Machine, load: Load) -> None:
    """Change a flag of the static pod; returns when the new process serves writes."""
    edited = "/etc/kubernetes/etcd.yaml"
    flag = "=".join((f"--{FLAG[0]}", FLAG[1]))
    plane.run(
        f"sed 's/^    - etcd$/&\\n    - {flag}/' {_MANIFEST} >{edited} && mv {edited} {_MANIFEST}\n"
        f"until pgrep -ax etcd | grep -qe '{flag}'; do sleep 0.05; done",
        root=True,
        timeout=_RESTART_SECONDS,
    )
    started = time.monotonic()
    for _ in every(0.05, seconds=_RESTART_SECONDS):
        if load.last_write > started:
            return
    raise RuntimeError(f"{plane.name}: no write succeeds after the restart of its etcd.")


def _during(plane: Machine, action: Callable[[Load], object]) -> Report:
    return under_load(plane.run(["cat", kubernetes.ADMIN], root=True).stdout, action, PATIENCE_SECONDS)


def _at_rest(plane: Machine) -> Report:
    return _during(plane, lambda _: time.sleep(REST_SECONDS))


def _figures(pairs: Sequence[tuple[Report, Report]]) -> dict[str, float]:
    """Medians in seconds, the ratio to those at rest, and the median number of failed requests during the change."""
    figures: dict[str, float] = {}
    for key, name in (("gap", "longest_gap"), ("writes", "p99_writes"), ("reads", "p99_reads")):
        rest, during = (statistics.median(getattr(report, key) for report in each) for each in zip(*pairs, strict=True))
        figures |= {name: during, f"{name}_rest": rest, f"{name}_ratio": during / rest}
    return {**figures, "failed": statistics.median(during.failed for _, during in pairs)}


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'':40}{'longest gap, ms':>26}{'p99 of writes, ms':>26}{'p99 of reads, ms':>26}{'failed':>8}"]
    for row in rows:
        cells = [
            f"{row[name] * 1000:.0f} (rest {row[f'{name}_rest'] * 1000:.0f}, x{row[f'{name}_ratio']:.1f})"
            for name in ("longest_gap", "p99_writes", "p99_reads")
        ]
        lines.append(f"{row['change']:40}{''.join(f'{cell:>26}' for cell in cells)}{row['failed']:8.0f}")
    lines.append(f"medians of {RUNS} runs")
    return "\n".join(lines)
