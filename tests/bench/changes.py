"""The cost of changes (time, longest gap, slowest writes), next to a bare script that does the same steps unguarded."""

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab, Machine
from lab.probe import Probe, Report, client_tls
from tests.support.etcd import write_client_files
from tests.support.machines import Machines, temporary_lab
from tests.support.stacks import REPO, Stack, Stacks, machine_config
from tests.support.versions import ETCD_VERSIONS
from tools.etcd import ensure_etcd

from .bare import Bare, archive, bare_script
from .chart import bar_chart

RUNS = 3
IDLE_SECONDS = 10.0
OLD, NEW = "3.5.35", "3.6.16"
FLAG = ("max-txn-ops", "256")


@dataclass(frozen=True)
class Measured:
    """One run of one operation."""

    seconds: float
    before: Report
    during: Report


@dataclass(frozen=True)
class Operation:
    """A kind of change, by the program and by the script.

    Attributes:
        name: in the table.
        members: number of members before the change.
        machines: number of machines.
        version: of etcd before the change.
        program: edits the stack; `pulumi up` follows.
        script: does the same with the bare script.
        wipes: whether slot 0's disk is lost first, in both cases.
    """

    name: str
    program: Callable[[Stack, list[Machine]], None]
    script: Callable[[Bare, list[Machine]], object]
    members: int = 3
    machines: int = 3
    version: str = NEW
    wipes: bool = False


def _set_flag(stack: Stack, _: list[Machine]) -> None:
    stack.config["flags"] = dict([FLAG])


def _upgrade(stack: Stack, _: list[Machine]) -> None:
    stack.config["version"] = NEW


def _grow(stack: Stack, found: list[Machine]) -> None:
    stack.config["machines"] = [machine_config(machine) for machine in found]


def _replace(stack: Stack, found: list[Machine]) -> None:
    stack.config["machines"] = [machine_config(machine) for machine in found]
    stack.config["machines"][0]["identity"] = "wiped"


def _join_two(bare: Bare, found: list[Machine]) -> None:
    for number in (3, 4):
        bare("join", archive(NEW), [found[number], *found[:number]])


OPERATIONS = (
    Operation(
        "rolling restart", _set_flag, lambda bare, found: bare("restart", "=".join((f"--{FLAG[0]}", FLAG[1])), found)
    ),
    Operation(
        f"upgrade {OLD} to {NEW}", _upgrade, lambda bare, found: bare("upgrade", archive(NEW), found), version=OLD
    ),
    Operation("growth 3 to 5", _grow, _join_two, machines=5),
    Operation("slot 0 wiped", _replace, lambda bare, found: bare("join", archive(NEW), found), wipes=True),
)


def main() -> None:
    """Measure, print the table, write `docs/benchmark-changes.json` and `.svg`."""
    for version in ETCD_VERSIONS:
        ensure_etcd(version)
    rows: list[dict[str, Any]] = []
    with temporary_lab("bench") as lab, tempfile.TemporaryDirectory() as scratch:
        machines, stacks = Machines(lab), Stacks(Path(scratch))
        for operation in OPERATIONS:
            script, program = [], []
            for _ in range(RUNS):  # alternating, so that a slow minute of the computer affects both
                script.append(_by_script(operation, machines, lab))
                program.append(_by_program(operation, machines, stacks, lab))
            rows.append({"operation": operation.name, "script": _figures(script), "pulumi_up": _figures(program)})
            print(rows[-1], file=sys.stderr, flush=True)
    result = {"runs": RUNS, "idle_seconds": IDLE_SECONDS, "changes": rows}
    print(_table(rows))
    docs = REPO / "docs"
    (docs / "benchmark-changes.json").write_text(json.dumps(result, indent=2) + "\n")
    series = {
        "bare script": [row["script"]["seconds"] for row in rows],
        "pulumi up": [row["pulumi_up"]["seconds"] for row in rows],
    }
    names = [str(row["operation"]) for row in rows]
    (docs / "benchmark-changes.svg").write_text(bar_chart("A change of a running cluster, seconds", names, series))


def _by_program(operation: Operation, machines: Machines, stacks: Stacks, lab: Lab) -> Measured:
    found = machines.fresh(operation.machines)
    stack = stacks.new(found[: operation.members], version=operation.version)
    stack.up()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        write_client_files(directory, stack.outputs())

        def change() -> float:
            operation.program(stack, found)
            return stack.up().seconds

        files = (directory / "ca.crt", directory / "client.crt", directory / "client.key")
        return _measured(operation, found, files, lab, change)


def _by_script(operation: Operation, machines: Machines, lab: Lab) -> Measured:
    found = machines.fresh(operation.machines)
    with bare_script(lab.dir, found) as bare:
        bare("create", archive(operation.version), found[: operation.members])

        def change() -> float:
            start = time.monotonic()
            operation.script(bare, found)
            return time.monotonic() - start

        name = found[1].name
        files = tuple(bare.directory / file for file in ("ca.crt", f"{name}-server.crt", f"{name}-server.key"))
        return _measured(operation, found, files, lab, change)


def _measured(
    operation: Operation,
    found: list[Machine],
    files: Sequence[Path],
    lab: Lab,
    change: Callable[[], float],
) -> Measured:
    """Probe an idle cluster for a while, then during the change."""
    probed = found[: operation.members]
    with _probing(probed, files) as before:
        time.sleep(IDLE_SECONDS)
    if operation.wipes:
        lab.kill(found[0].name)
        lab.wipe(found[0].name)
        (found[0],) = lab.up([found[0].name])
        probed = found[1 : operation.members]
    with _probing(probed, files) as during:
        seconds = change()
    return Measured(seconds, before[0], during[0])


@contextlib.contextmanager
def _probing(found: Sequence[Machine], files: Sequence[Path]) -> Iterator[list[Report]]:
    """The report is in the list after the block. Raises RuntimeError if a write was lost."""
    ca, certificate, key = files
    probe = Probe([f"https://{machine.address}:2379" for machine in found], client_tls(ca, certificate, key))
    reports: list[Report] = []
    probe.start()
    try:
        yield reports
    finally:
        reports.append(probe.finish())
    if not reports[0].clean:
        raise RuntimeError(f"the cluster lost consistency: {reports[0]}")


def _figures(runs: Sequence[Measured]) -> dict[str, float]:
    """Medians; all in seconds."""

    def median(figure: Callable[[Measured], float]) -> float:
        return statistics.median(figure(run) for run in runs)

    return {
        "seconds": median(lambda run: run.seconds),
        "longest_gap": median(lambda run: run.during.longest_gap),
        "longest_gap_before": median(lambda run: run.before.longest_gap),
        "p99": median(lambda run: run.during.p99),
        "p99_before": median(lambda run: run.before.p99),
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'':26}{'seconds':>18}{'ratio':>7}{'longest gap, ms':>24}{'p99 of writes, ms':>24}"]
    for row in rows:
        for by in ("script", "pulumi_up"):
            cost = row[by]
            ratio = f"{cost['seconds'] / row['script']['seconds']:.1f}"
            gap = f"{cost['longest_gap'] * 1000:.0f} (idle {cost['longest_gap_before'] * 1000:.0f})"
            p99 = f"{cost['p99'] * 1000:.1f} (idle {cost['p99_before'] * 1000:.1f})"
            label = row["operation"] if by == "script" else ""
            lines.append(f"{label:26}{by:>10}{cost['seconds']:8.1f}{ratio:>7}{gap:>24}{p99:>24}")
    lines.append(f"medians of {RUNS} runs")
    return "\n".join(lines)
