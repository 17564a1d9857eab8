"""Stored snapshots of members on the lab's machines."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import Machine
from tools.backups import age_program

from .etcd import etcdctl, member_list

NEVER = "2099-01-01"
"""A schedule of systemd."""


def new_key(directory: Path) -> tuple[Path, str]:
    """A private key of age, and its public key."""
    path = directory / "key.txt"
    subprocess.run([age_program("age-keygen"), "-o", path], check=True, capture_output=True)
    said = subprocess.run([age_program("age-keygen"), "-y", path], check=True, capture_output=True, text=True)
    return path, said.stdout.strip()


def status(machine: Machine) -> dict[str, Any]:
    """What `etcd-node status` says."""
    return dict(json.loads(machine.run("etcd-node status --json", root=True).stdout))


def leader(machines: Sequence[Machine]) -> str:
    """Name of the member that leads."""
    said = json.loads(etcdctl(machines[0], "endpoint", "status", "--write-out=json"))[0]["Status"]
    return str(next(row["name"] for row in member_list(machines[0]) if row["ID"] == said["leader"]))
