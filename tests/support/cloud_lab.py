"""An emulated cloud on this computer: its command line, and its traces outside its directory."""

import subprocess
import sys
from pathlib import Path

from lab import Lab, host

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


def left(lab: Lab) -> str:
    """Everything on the computer that carries the lab's id."""
    seen = [
        host.call("ip", "-br", "link").stdout,
        host.call("ip", "netns", "list").stdout,
        host.call("nft", "list", "tables").stdout,
        host.call("losetup", "--all").stdout,
        Path("/proc/self/mountinfo").read_text(),
        "\n".join(str(path) for path in host.RUN.glob("*")),
        "\n".join(str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{lab.id}*")),
    ]
    mine = (lab.id, str(lab.dir))
    return "\n".join(line for text in seen for line in text.splitlines() if any(mark in line for mark in mine))
