"""`make up`: the stack `dev` on machines of the lab, from nothing to a table of healthy members."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
    settings: dict[str, Any] = {"cwd": REPO, "env": {**os.environ, **environ}, "timeout": _UP_SECONDS}
    subprocess.run(["pulumi", "stack", "select", "--create", STACK], check=True, capture_output=True, **settings)
    _say("pulumi up")
    up = subprocess.run(
        ["pulumi", "up", "--stack", STACK, "--yes", "--skip-preview", "--suppress-outputs"], check=False, **settings
    )
    if up.returncode:
        print(
            "make up: `pulumi up` failed; what it said is above. Try again with `make up`; `make down` starts over.",
            file=sys.stderr,
        )
        return int(up.returncode)
    shown = subprocess.run(
        ["pulumi", "stack", "output", "--stack", STACK, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        **settings,
    )
    outputs = json.loads(shown.stdout)
    print()
    for line in table(lab, outputs):
        print(line)
    print(_next_things(lab, outputs["etcdctl"], time.monotonic() - start))
    return 0


def table(lab: Lab, outputs: dict[str, Any]) -> list[str]:
    """Lines of a table with what every member says of itself now.

    Args:
        lab: the lab with the members.
        outputs: the stack's outputs.
    """
    rows = [("MEMBER", "VERSION", "ROLE", "DB SIZE", "CERTIFICATES EXPIRE", "HEALTH")]
    for member in outputs["members"]:
        name = member["name"]
        line = re.sub(r"--endpoints=\S+", f"--endpoints={member['endpoint']}", outputs["etcdctl"])
        machine = lab.machine(name)
        status = machine.run(
            f"sudo -n {line.replace('--write-out=table', '--write-out=json')}", timeout=20, check=False
        )
        health = machine.run(f"sudo -n {line.replace('endpoint status', 'endpoint health')}", timeout=20, check=False)
        expiry = min(when for key, when in outputs["certificates"].items() if key.startswith(f"{name}/"))
        try:
            found = json.loads(status.stdout)[0]["Status"]
            role = (
                "learner"
                if found.get("isLearner")
                else "leader"
                if found["leader"] == found["header"]["member_id"]
                else "follower"
            )
            size = f"{found['dbSize'] / 1024:.0f} KiB"
            rows.append((name, found["version"], role, size, expiry[:10], "no" if health.returncode else "healthy"))
        except (ValueError, LookupError):
            rows.append((name, "?", "?", "?", expiry[:10], "does not answer"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _next_things(lab: Lab, etcdctl: str, seconds: float) -> str:
    here = os.path.relpath(lab.dir / "env")
    first = next(iter(lab.machines))
    return f"""
Three members in {seconds:.0f} s. Next:

  . {here}                                 pulumi in this shell, on this stack
  pulumi stack output                         what comes out (--show-secrets for keys)
  pulumi stack output kubeadm                 what kubeadm reads
  python3 -m lab ssh {first} -- sudo {etcdctl}
  python3 -m lab ssh {first} -- sudo etcd-node status
  pulumi config set version 3.7.3 && make up
                                              another version, one member after another
  make down                                   all of it is gone"""


def _version() -> str:
    """The version of etcd that the stack wants; the lab's mirror has to serve it."""
    found = re.search(r"^\s*external-etcd:version:\s*['\"]?([\d.]+)", (REPO / f"Pulumi.{STACK}.yaml").read_text(), re.M)
    if found is None:
        raise ToolError(
            f"Pulumi.{STACK}.yaml names no external-etcd:version. Add a line like `external-etcd:version: 3.6.16`."
        )
    return found.group(1)


def _write_environment(path: Path, environ: dict[str, str]) -> None:
    """A file for `.` in a shell."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in {**environ, "PULUMI_STACK": STACK}.items()]
    path.write_text("\n".join(lines) + "\n")


def _say(text: str) -> None:
    print(f"-- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
