"""Reviews and updates a stack in a CI job.

python3 ci/stack.py review STACK [--refresh=true] [--fail-on CONDITION,...] [--comment FILE] [--outputs FILE]
python3 ci/stack.py update STACK [--refresh=true] --reviewed DIGEST

It runs in the folder of the program, after `pulumi install`. Exit status: as of `external-etcd review`;
4 if an update would not make the change that was reviewed.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# What a preview prints that did not come to its end.
_NO_PREVIEW = '{"diagnostics": []}'


@dataclass(frozen=True)
class Reviewed:
    """What `external-etcd review` printed of a preview."""

    status: int
    comment: str
    verdict: str
    """`nothing`, `changes`, `refused` or `failed`."""

    @property
    def digest(self) -> str:
        """Names the change: the comment has every step and every resource."""
        return hashlib.sha256(self.comment.encode()).hexdigest()


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    review, update = commands.add_parser("review"), commands.add_parser("update")
    for command in (review, update):
        command.add_argument("stack")
        command.add_argument("--refresh", choices=("true", "false"), default="false", help="read the cloud first")
    review.add_argument("--fail-on", default="")
    review.add_argument("--comment", type=Path, help="file to write the comment to")
    review.add_argument("--outputs", type=Path, help="file to write verdict=... and digest=... to")
    update.add_argument("--reviewed", required=True, help="the digest of the review that was approved")
    given = parser.parse_args(arguments)
    options = [f"--stack={given.stack}", *["--refresh"] * (given.refresh == "true")]
    if given.command == "update":
        return _update(given.stack, options, given.reviewed)
    found = _review(given.stack, options, given.fail_on)
    if given.comment:
        given.comment.write_text(found.comment, encoding="utf-8")
    if given.outputs:
        given.outputs.write_text(f"verdict={found.verdict}\ndigest={found.digest}\n")
    print(f"{given.stack}: {found.verdict}")
    return found.status


def _review(stack: str, options: list[str], fail_on: str = "") -> Reviewed:
    # The preview has the configuration in plain text, with every secret that a preview knows. So it is in a folder
    # that only this user can read, and only until it is reviewed.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "preview.json")
        command = ["pulumi", "preview", "--json", "--non-interactive", *options]
        with file.open("wb") as out:
            ended = subprocess.run(command, stdout=out, check=False).returncode
        conditions = [f"--fail-on={fail_on}"] if fail_on else []
        found = _reviewed(file, stack, conditions)
        # A violated policy pack shows only in the exit status. So does a preview that printed nothing.
        if not found.comment or (ended and found.verdict in ("nothing", "changes")):
            file.write_text(_NO_PREVIEW)
            found = _reviewed(file, stack, conditions)
    if found.verdict in ("refused", "failed"):
        # The comment sends its readers to the log for what it must not repeat.
        plain = ["pulumi", "preview", "--non-interactive", "--suppress-outputs", "--suppress-progress"]
        subprocess.run([*plain, *options], check=False)
    return found


def _reviewed(file: Path, stack: str, conditions: list[str]) -> Reviewed:
    installed = Path(".venv/bin/external-etcd")
    # A clone of external-etcd itself does not install the command.
    program = [str(installed), "review"] if installed.exists() else [".venv/bin/python", "-m", "components.review"]
    command = [*program, str(file), f"--stack={stack}"]
    comment = subprocess.run([*command, *conditions], stdout=subprocess.PIPE, text=True, check=False)
    facts = subprocess.run([*command, "--format=json"], stdout=subprocess.PIPE, text=True, check=False)
    verdict = json.loads(facts.stdout)["verdict"] if facts.stdout else "failed"
    return Reviewed(comment.returncode, comment.stdout, verdict)


def _update(stack: str, options: list[str], approved: str) -> int:
    found = _review(stack, options)
    if found.verdict == "nothing":
        print(f"{stack}: nothing to do")
        return 0
    if found.verdict != "changes":
        return found.status or 1
    if found.digest == approved:
        # A CI that ignores Ctrl-C passes this on, and then the CLI cannot be stopped in order.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stdout.flush()
        command = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--suppress-outputs", *options]
        # In place of this process, so that signals of the CI reach it.
        os.execvp(command[0], command)  # noqa: S606
    print(f"{stack}: this is not the change that was approved. Nothing was done; review it again:\n\n{found.comment}")
    return 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
