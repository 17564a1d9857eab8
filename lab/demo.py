"""`make up`: the stack `dev` on lab machines, from nothing to a table of healthy members."""

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

from . import Lab, LabError, progress
from .engine import REPO, environment

STACK = "dev"
_MACHINES = 3
_UP_SECONDS = 900


def main() -> int:
    """Runs every step. Returns the exit code."""
    start = time.monotonic()
    try:
        lab = Lab(say=_say)
        ensure_etcd(_version())
        lab.up(_MACHINES)
        environ = environment(lab.dir / "pulumi", lambda _: None)
    except (LabError, ToolError) as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    _write_environment(lab.dir / "env", environ)
    _say(_plugins(lab.dir / "pulumi" / "plugins"))
    settings: dict[str, Any] = {"cwd": REPO, "env": {**os.environ, **environ}}
    subprocess.run(
        ["pulumi", "stack", "select", "--create", STACK], check=True, capture_output=True, timeout=60, **settings
    )
    _say(f"pulumi up --stack {STACK}")
    code = _update(settings)
    if code:
        print(
            "make up: `pulumi up` failed. Its error is above. Remove the cause and run `make up` again, "
            "or start over with `make down`.",
            file=sys.stderr,
        )
        return code
    shown = subprocess.run(
        ["pulumi", "stack", "output", "--stack", STACK, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        **settings,
    )
    outputs = json.loads(shown.stdout)
    print()
    for line in table(lab, outputs):
        print(line)
    print(_next_things(lab, outputs["etcdctl"], time.monotonic() - start))
    return 0


def _plugins(stand_ins: Path) -> str:
    """One line about the provider plugins in use.

    Args:
        stand_ins: the folder with a link for each plugin that cannot be downloaded.
    """
    names = sorted(path.name.removeprefix("pulumi-resource-") for path in stand_ins.iterdir())
    if not names:
        return "Pulumi plugins: the official ones"
    return f"Pulumi plugins: this repository's stand-ins for {', '.join(names)}; the official ones cannot be downloaded"


def _update(settings: dict[str, Any]) -> int:
    """Runs `pulumi up` and prints its plan and its steps. Returns its exit code."""
    command = ["pulumi", "up", "--stack", STACK, "--yes", "--skip-preview", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **settings) as update:
        assert update.stdout is not None  # noqa: S101, a pipe was asked for
        try:
            for line in progress.lines(update.stdout, STACK):
                print(line, flush=True)
        except KeyboardInterrupt:
            # The CLI has received it too.
            _say("interrupted: waiting for the step in progress")
        return update.wait(_UP_SECONDS)


def table(lab: Lab, outputs: dict[str, Any]) -> list[str]:
    """Lines of a table with the current status of every member."""
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
            rows.append(
                (name, found["version"], role, size, expiry[:10], "unhealthy" if health.returncode else "healthy")
            )
        except (ValueError, LookupError):
            rows.append((name, "?", "?", "?", expiry[:10], "no answer"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _next_things(lab: Lab, etcdctl: str, seconds: float) -> str:
    here = os.path.relpath(lab.dir / "env")
    first = next(iter(lab.machines))
    return f"""
Three members in {seconds:.0f} s. Next:

  . {here}                                 use pulumi in this shell, on this stack
  pulumi stack output                         all outputs (keys: --show-secrets)
  pulumi stack output kubeadm                 the configuration for kubeadm
  python3 -m lab ssh {first} -- sudo {etcdctl}
  python3 -m lab ssh {first} -- sudo etcd-node status
  pulumi config set version 3.7.3 && make up
                                              upgrade, one member after another
  python3 -m lab kubernetes up --external     two control planes of Kubernetes that use this etcd
  make down                                   remove everything"""


def _version() -> str:
    """The etcd version of the stack; the lab's mirror must serve it."""
    found = re.search(r"^\s*external-etcd:version:\s*['\"]?([\d.]+)", (REPO / f"Pulumi.{STACK}.yaml").read_text(), re.M)
    if found is None:
        raise ToolError(
            f"Pulumi.{STACK}.yaml has no external-etcd:version. Add a line like `external-etcd:version: 3.6.16`."
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
