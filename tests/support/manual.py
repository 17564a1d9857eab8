"""Lines of the manual, as they stand there, for a test's machines."""

import re
from collections.abc import Sequence

from lab import Machine

from .stacks import REPO


def manual(section: str, machines: Sequence[Machine]) -> str:
    """The first block of shell lines of a section of docs/operations.md, with these machines in the example's place.

    Args:
        section: the section's title.
        machines: those on which, or about which, the lines are to be run; the first one fills in for the example's one.
    """
    text = (REPO / "docs" / "operations.md").read_text().split(f"## {section}\n")[1]
    lines = text.split("```sh\n")[1].split("```")[0]
    endpoints = ",".join(f"https://{machine.address}:2379" for machine in machines)
    lines = re.sub(r"--endpoints=\S+", f"--endpoints={endpoints}", lines)
    lines = re.sub(r"(?m)^NAME=\S+ ADDRESS=\S+", f"NAME={machines[0].name} ADDRESS={machines[0].address}", lines)
    return f"set -e\n{lines}"
