"""`make up`: the stack `dev` on machines of the lab, from nothing to a table of healthy members."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tools.base import ToolError
from tools.etcd import ensure_etcd

from . import Lab, LabError
from .engine import REPO, environment

STACK = "dev"
_MACHINES = 3
_UP_SECONDS = 900


def main() -> int:
    """Runs every step; returns the exit code."""
    start = time.monotonic()
    try:
        lab = Lab(say=_say)
        ensure_etcd(_version())
        lab.up(_MACHINES)
        environ = environment(lab.dir / "pulumi", _say)
    except (LabError, ToolError) as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    _write_environment(lab.dir / "env", environ)
    pulumi = ["pulumi", "--stack", STACK]
    settings = {"cwd": REPO, "env": {**os.environ, **environ}, "timeout": _UP_SECONDS}
    subprocess.run(["pulumi", "stack", "select", "--create", STACK], check=True, capture_output=True, **settings)  # type: ignore[call-overload]
    _say("pulumi up")
    up = subprocess.run([*pulumi, "up", "--yes", "--skip-preview", "--suppress-outputs"], check=False, **settings)  # type: ignore[call-overload]
    if up.returncode:
        print(f"make up: `pulumi up` failed; what it said is above. Try again with `make up`; `make down` starts over.", file=sys.stderr)
        return int(up.returncode)
    shown = subprocess.run([*pulumi, "output", "--json"], check=True, stdout=subprocess.PIPE, text=True, **settings)  # type: ignore[call-overload]
    outputs = json.loads(shown.stdout)
    print()
    for line in table(lab, outputs):
        print(line)
    print(_next_things(lab, outputs["etcdctl"], time.monotonic() - start))
    return 0


def table(lab: Lab, outputs: dict[str, object]) -> list[str]:
    """Lines of a table with what every member says of itself now."""
