"""Runs all checks and tests for `make test`. Arguments go to pytest (`-k`, `-x`, a path, ...).

`make soak` passes `--soak` first, for the cases that `make test` leaves out; see tests/README.md.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tools.backups import ensure_backups
from tools.etcd import ensure_etcd
from tools.kubernetes import ensure_kubernetes
from tools.languages import ensure_languages, ensure_npm
from tools.prometheus import ensure_alertmanager, ensure_operator_crds, ensure_prometheus, ensure_strace
from tools.pulumi import ensure_pulumi
from tools.python import ensure_docs
from tools.workflows import ensure_actionlint, ensure_gitlab_schema

from .support.spent import table
from .support.versions import ETCD_VERSIONS

REPO = Path(__file__).resolve().parent.parent

ALONE = "tests/lab/test_lab_leaves_nothing.py"
PROPERTIES = ("-n2", "-m", "hypothesis", "--hypothesis-profile=soak", "tests/unit")
# An idle worker takes tests from the end of the other's list, so the tests of a module mostly share their fixtures.
UNITS = ("-n2", "--dist=worksteal", "tests/components", "tests/unit")
LATER = ("nice", "-n", "5")
LAST = ("nice", "-n", "15")
LABS = ("-n3", "--dist=loadfile", f"--ignore={ALONE}")


def main(arguments: list[str]) -> int:
    """Get what the tests need, run every stage, report the time spent; returns 0 if all stages passed."""
    soak = arguments[:1] == ["--soak"]
    arguments = arguments[1:] if soak else arguments
    with tempfile.TemporaryDirectory() as scratch:
        return _all(soak, arguments, Path(scratch, "spent"))


def _all(soak: bool, arguments: list[str], spent: Path) -> int:
    seconds: dict[str, float] = {}

    def stage(name: str, action: Callable[[], int]) -> int:
        print(f"== {name}", flush=True)
        start = time.monotonic()
        code = action()
        seconds[name] = time.monotonic() - start
        return code

    def tests(*paths: str) -> list[str]:
        return [sys.executable, "-m", "pytest", f"--spent={spent}", *paths, *arguments]

    def run(*command: str) -> int:
        return subprocess.run(command, cwd=REPO, env=_environ(), check=False).returncode

    def pytest(*paths: str) -> int:
        return run(*tests(*paths))

    stage("get Pulumi, etcd, Kubernetes, Prometheus, an S3 server, MkDocs and actionlint", _get)
    if soak:
        codes = [
            stage("properties, with more examples", lambda: pytest(*PROPERTIES)),
            # The cases of `make test` are not repeated.
            stage("lab and cloud tests", lambda: pytest(*LABS, "--soak", "--ignore=tests/soak", "tests")),
            stage("random operations and faults", lambda: pytest("--soak", "-s", "tests/soak")),
        ]
    elif any(not argument.startswith("-") for argument in arguments):
        codes = [stage("selected tests", pytest)]
    else:
        # The cleanup after a computer's last lab can only be tested while there is no other lab. It mostly waits, so it
        # runs beside the tests without a lab. Those have a lower priority, so that it still meets the moments that it
        # waits for. Ruff and mypy use what all of them leave.
        with _begun(tests(ALONE)) as alone, _begun([*LAST, "make", "--no-print-directory", "check"]) as check:
            codes = [
                stage("unit and component tests", lambda: run(*LATER, *tests(*UNITS))),
                stage("a lab alone, the rest", alone),
                # They mostly wait for machines, hence more workers than cores.
                stage("lab and cloud tests", lambda: pytest(*LABS, "tests/clouds", "tests/lab")),
                stage("ruff and mypy, the rest", check),
            ]
    print("== where the time went")
    for name, taken in seconds.items():
        print(f"{taken:8.0f} s  {name}")
    for line in table(spent) if spent.exists() else ():
        print(line)
    if any(codes):
        print("failed: " + ", ".join(name for name, code in zip(list(seconds)[1:], codes, strict=True) if code))
    return next((code for code in codes if code), 0)


@contextlib.contextmanager
def _begun(command: Sequence[str]) -> Iterator[Callable[[], int]]:
    """Run a command in the background; the yielded function waits for it, prints its output and returns its code."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=REPO, env=_environ(), stdout=said, stderr=subprocess.STDOUT)

        def end() -> int:
            code = process.wait()
            said.seek(0)
            print(said.read(), end="", flush=True)
            return code

        try:
            yield end
        finally:
            process.kill()


def _environ() -> dict[str, str]:
    # Otherwise, where the environment disables the bytecode cache, some thousand processes would compile everything.
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}


def _get() -> int:
    ensure_pulumi()
    for version in ETCD_VERSIONS:
        ensure_etcd(version)
    ensure_kubernetes()
    ensure_prometheus()
    ensure_alertmanager()
    ensure_strace()
    ensure_operator_crds()
    ensure_backups()
    ensure_docs()
    ensure_actionlint()
    ensure_gitlab_schema()
    ensure_languages()
    ensure_npm(REPO / "examples" / "typescript")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
