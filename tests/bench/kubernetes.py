"""Requests to an API server while its etcd changes, next to the same one at rest, and to one with stacked etcd."""

import functools
import json
import re
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
FLAG = "max-txn-ops"
_MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
_RESTART_SECONDS = 120.0
# A name, then the reports at rest and during the change.
_Measured = tuple[str, Report, Report]


def _set_flag(stack: Stack, _: list[Machine]) -> None:
    stack.config["flags"] = {FLAG: "256"}


def _upgrade(stack: Stack, _: list[Machine]) -> None:
    stack.config["version"] = NEW


def _grow(stack: Stack, found: list[Machine]) -> None:
    stack.config["machines"] = [machine_config(machine) for machine in found]


CHANGES: dict[str, Callable[[Stack, list[Machine]], None]] = {
    "A setting, 3 members restart": _set_flag,
    f"{OLD} to {NEW}, with snapshot": _upgrade,
    f"{MEMBERS} to {LATER} members": _grow,
}
# Stacked members, and which control plane's API server is asked. The member of the last one restarts.
STACKED = {
    "Stacked: the only member restarts": (1, 1),
    "Stacked: one of 3 restarts, the API server beside it": (3, 3),
    "Stacked: one of 3 restarts, another API server": (3, 1),
}


def main() -> None:
    """Measure, print the table, write `docs/benchmark-kubernetes.json`."""
    for version in (OLD, NEW):
        ensure_etcd(version)
    runs: dict[str, list[tuple[Report, Report]]] = {}
    with temporary_lab("bench") as lab, tempfile.TemporaryDirectory() as scratch:
        machines, stacks = Machines(lab), Stacks(Path(scratch))
        external = [_external(machines, stacks) for _ in range(RUNS)]
        for measure in (*external, *(_stacked(lab, name) for name in STACKED)):
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
    (plane,) = kubernetes.up(machines.lab, outputs["kubeadm"], outputs["kubeadm_script"], ["control-1"])
    for name, edit in CHANGES.items():
        rest = _during(plane, _rest)
        edit(stack, found)
        yield name, rest, _during(plane, lambda _: stack.up())


def _stacked(lab: Lab, name: str) -> Iterator[_Measured]:
    """In control planes of their own; the machines of `_external` are off."""
    count, number = STACKED[name]
    lab.kill(*lab.machines)
    planes = kubernetes.up_stacked(lab, [f"control-{n}" for n in range(1, count + 1)])
    asked, changed = planes[number - 1], planes[-1]
    for run in range(RUNS):
        rest = _during(asked, _rest)
        yield name, rest, _during(asked, functools.partial(_restart, changed, str(256 + run)))


def _restart(plane: Machine, value: str, load: Load) -> None:
    """Change a flag of the static pod; returns when the new process serves writes and reads."""
    edited, flag = "/etc/kubernetes/etcd.yaml", f"--{FLAG}={value}"
    plane.run(
        f"sed '/--{FLAG}=/d; s/^    - etcd$/&\\n    - {flag}/' {_MANIFEST} >{edited} && mv {edited} {_MANIFEST}\n"
        f"until pgrep -ax etcd | grep -qe '{flag}'; do sleep 0.05; done",
        root=True,
        timeout=_RESTART_SECONDS,
    )
    started = time.monotonic()
    for _ in every(0.05, seconds=_RESTART_SECONDS):
        if load.answered > started:
            return
    raise RuntimeError(f"{plane.name}: not all requests succeed after the restart of its etcd.")


def _during(plane: Machine, action: Callable[[Load], object]) -> Report:
    """Requests to this control plane's API server during `action`."""
    administrator = plane.run(["cat", kubernetes.ADMIN], root=True).stdout
    own = re.sub(r"server: .*", f"server: https://{plane.address}:6443", administrator)
    return under_load(own, action, PATIENCE_SECONDS)


def _rest(_: Load) -> None:
    time.sleep(REST_SECONDS)


def _figures(pairs: Sequence[tuple[Report, Report]]) -> dict[str, float]:
    """Medians in seconds, the ratio to those at rest, and how many requests failed during the changes of all runs."""
    figures: dict[str, float] = {}
    for key, name in (("gap", "longest_gap"), ("writes", "p99_writes"), ("reads", "p99_reads")):
        rest, during = (statistics.median(getattr(report, key) for report in each) for each in zip(*pairs, strict=True))
        figures |= {name: during, f"{name}_rest": rest, f"{name}_ratio": during / rest}
    return {**figures, "failed": sum(during.failed for _, during in pairs)}


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'':52}{'longest gap, ms':>26}{'p99 of writes, ms':>26}{'p99 of reads, ms':>26}{'failed':>8}"]
    for row in rows:
        cells = [
            f"{row[name] * 1000:.0f} (rest {row[f'{name}_rest'] * 1000:.0f}, x{row[f'{name}_ratio']:.1f})"
            for name in ("longest_gap", "p99_writes", "p99_reads")
        ]
        lines.append(f"{row['change']:52}{''.join(f'{cell:>26}' for cell in cells)}{row['failed']:8.0f}")
    lines.append(f"medians of {RUNS} runs")
    return "\n".join(lines)
