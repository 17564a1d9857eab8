"""Runs all tests: `make test` calls this. Arguments are passed on to pytest (`-k`, `-x`, a path, ...)."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tools.etcd import ensure_etcd
from tools.kubeadm import ensure_kubeadm
from tools.pulumi import ensure_pulumi

from .support.versions import ETCD_VERSIONS

REPO = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Gets what the tests need, runs them, says where the time went; returns pytest's exit code."""
    seconds: dict[str, float] = {}

    def timed(stage: str, action: Callable[[], int]) -> int:
        print(f"== {stage}", flush=True)
        start = time.monotonic()
        code = action()
        seconds[stage] = time.monotonic() - start
        return code

    timed("get Pulumi, etcd and kubeadm", _get)
    stages = (
        {"the files given": []}
        if any(not a.startswith("-") for a in arguments)
        else {
            "unit and component tests": ["tests/unit", "tests/components"],
            "lab tests": ["tests/lab"],
        }
    )
    codes = [
        timed(
            stage,
            lambda paths=paths: (
                subprocess.run([sys.executable, "-m", "pytest", *paths, *arguments], cwd=REPO, check=False).returncode
            ),
        )
        for stage, paths in stages.items()
    ]
    print("== where the time went")
    for stage, spent in seconds.items():
        print(f"{spent:8.0f} s  {stage}")
    return next((code for code in codes if code), 0)


def _get() -> int:
    ensure_pulumi()
    for version in ETCD_VERSIONS:
        ensure_etcd(version)
    ensure_kubeadm()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
