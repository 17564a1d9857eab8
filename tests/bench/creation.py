"""The time to create a cluster, next to a bare script that does the same without any safety."""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.machines import Machines, temporary_lab
from tests.support.stacks import REPO, Stacks
from tests.support.versions import DEFAULT_ETCD
from tools.etcd import ensure_etcd

from .bare import archive, bare_script
from .chart import bar_chart

SIZES = (3, 5, 7)
RUNS = 3


def main() -> None:
    """Measure, print the table, write `docs/benchmark-creation.json` and `.svg`."""
    ensure_etcd(DEFAULT_ETCD)
    rows: list[dict[str, float]] = []
    with temporary_lab("bench") as lab, tempfile.TemporaryDirectory() as scratch:
        machines, stacks = Machines(lab), Stacks(Path(scratch))
        no_change: dict[str, list[float]] = {"preview": [], "up": []}
        for count in SIZES:
            script, program = [], []
            for _ in range(RUNS):  # alternating, so that a slow minute of the computer affects both
                found = machines.fresh(count)
                with bare_script(lab.dir, found) as bare:
                    script.append(bare("create", archive(DEFAULT_ETCD), found))
                stack = stacks.new(machines.fresh(count))
                program.append(stack.up().seconds)
            if count == SIZES[0]:
                no_change["preview"] = [stack.preview("--expect-no-changes").seconds for _ in range(RUNS)]
                no_change["up"] = [stack.up("--expect-no-changes").seconds for _ in range(RUNS)]
            rows.append(
                {"members": count, "script": statistics.median(script), "pulumi_up": statistics.median(program)}
            )
            print(f"{count} members: script {script}, pulumi up {program}", file=sys.stderr, flush=True)
    first = rows[0]
    result = {
        "runs": RUNS,
        "creation": [
            {**row, "ratio": row["pulumi_up"] / row["script"], "to_first": row["pulumi_up"] / first["pulumi_up"]}
            for row in rows
        ],
        "no_change_preview": statistics.median(no_change["preview"]),
        "no_change_up": statistics.median(no_change["up"]),
    }
    print(_table(result))
    docs = REPO / "docs"
    (docs / "benchmark-creation.json").write_text(json.dumps(result, indent=2) + "\n")
    series = {"bare script": [row["script"] for row in rows], "pulumi up": [row["pulumi_up"] for row in rows]}
    (docs / "benchmark-creation.svg").write_text(
        bar_chart("A new cluster, seconds", [f"{n} members" for n in SIZES], series)
    )


def _table(result: dict[str, Any]) -> str:
    lines = ["members   script      pulumi up   ratio   to 3 members"]
    lines += [
        f"{row['members']:7.0f} {row['script']:8.1f} s {row['pulumi_up']:10.1f} s "
        f"{row['ratio']:7.1f} {row['to_first']:14.2f}"
        for row in result["creation"]
    ]
    lines.append(
        f"no change, 3 members: preview {result['no_change_preview']:.1f} s, up {result['no_change_up']:.1f} s"
    )
    lines.append(f"medians of {result['runs']} runs")
    return "\n".join(lines)
