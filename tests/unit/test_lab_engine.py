"""The lab restores SIGINT's default action: otherwise each run of the CLI waits 5 s at its end."""

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
# `make up`, the tests and the benchmarks all start the CLI with `environment`.
PROGRAM = """
import subprocess, sys
from pathlib import Path
from lab import engine
engine.find_plugins = lambda *_: []
environ = engine.environment(Path(sys.argv[1]), print)
subprocess.run(["grep", "SigIgn", "/proc/self/status"], env=environ, check=True)
"""


def test_the_engine_gets_sigint_even_if_the_parent_ignores_it(tmp_path: Path) -> None:
    ignoring = ["sh", "-c", "trap '' INT; grep SigIgn /proc/self/status; exec \"$@\"", "sh"]
    done = subprocess.run(
        [*ignoring, sys.executable, "-c", PROGRAM, tmp_path],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    before, after = [int(line.split()[1], 16) for line in done.stdout.splitlines() if line.startswith("SigIgn")]
    interrupt = 1 << (2 - 1)
    assert before & interrupt, "the test's own setup: SIGINT is ignored as in a background job"
    assert not after & interrupt
