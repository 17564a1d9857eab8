"""What runs the engine here gives it SIGINT's default back: otherwise each run of the CLI waits 5 s at its end."""

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
# `make up`, the tests and the benchmarks all get what they start the CLI with from `environment`.
PROGRAM = """
import subprocess, sys
from pathlib import Path
from lab import engine
engine.find_plugins = lambda *_: []
environ = engine.environment(Path(sys.argv[1]), print)
subprocess.run(["grep", "SigIgn", "/proc/self/status"], env=environ, check=True)
"""


def test_the_engine_heeds_sigint_though_whoever_started_the_tests_ignores_it(tmp_path: Path) -> None:
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
    assert before & interrupt, "the test itself: a background job of a script"
    assert not after & interrupt
