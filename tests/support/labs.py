"""A lab's command line."""

import subprocess
import sys

from lab import Lab

from .stacks import REPO


def command(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python3 -m lab` for this lab."""
    return subprocess.run(
        [sys.executable, "-m", "lab", "--dir", str(lab.dir), *words],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
