"""An emulated cloud on this computer: its command line."""

import subprocess
import sys

from lab import Lab

from .stacks import REPO


def command(lab: Lab, cloud: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python3 -m lab cloud`."""
    return subprocess.run(
        [sys.executable, "-m", "lab", "--dir", str(lab.dir), "cloud", cloud, *words],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
