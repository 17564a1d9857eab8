"""`make up` and `make down` in a fresh clone, like a new user."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines import require_a_lab
from tests.support.stacks import REPO


def _run(clone: Path, command: str, *, timeout: float = 300) -> str:
    # A new user does not have the settings of this test run.
    hidden = ("VIRTUAL_ENV", "LAB_DIR", "LAB_SUBNET", "MAKEFLAGS", "MAKELEVEL", "PYTHONPATH")
    environment = {
        key: value for key, value in os.environ.items() if key not in hidden and not key.startswith("PULUMI")
    }
    environment["PATH"] = environment["PATH"].replace(f"{REPO}/.venv/bin:", "")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


def _lines(text: str) -> set[str]:
    """Lines without values that vary between runs: seconds, sizes, dates, the leader, and spaces for them."""
    varying = r"\d+\.\d s|\d+ KiB|\d{4}-\d\d-\d\d|leader|follower"
    return {" ".join(re.sub(varying, "", line).split()) for line in text.splitlines()}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    require_a_lab()
    directory = tmp_path_factory.mktemp("user") / "external-etcd"
    subprocess.run(["git", "clone", "-q", REPO, directory], check=True, timeout=60)
    yield directory
    _run(directory, "make down")


def test_make_alone_lists_the_targets(clone: Path) -> None:
    said = _run(clone, "make")
    for target in ("up", "down", "test", "check", "bench"):
        assert re.search(rf"make {target} +\w", said)


def test_make_up_in_a_fresh_clone_creates_a_working_cluster(clone: Path) -> None:
    said = _run(clone, "make up", timeout=900)
    rows = [line.split() for line in said.splitlines() if re.match(r"etcd-\d +3\.", line)]
    assert [row[0] for row in rows] == ["etcd-1", "etcd-2", "etcd-3"], said
    assert {row[-1] for row in rows} == {"healthy"}
    assert sorted(row[2] for row in rows) == ["follower", "follower", "leader"]

    (line,) = [text.strip() for text in said.splitlines() if " sudo etcdctl " in text]
    assert _run(clone, line).count("https://") == 3
    assert "warning" not in said
    assert said.index("The plan:") < said.index("Steps:") < said.index("all members: health") < said.index("MEMBER")
    (shown,) = re.findall(r"```text\n(The plan:\n.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    assert _lines(shown) <= _lines(said), "the README shows what is printed"
    steps = re.findall(r"^  (etcd-\d): (\w+) +[\d.]+ s$", said, re.MULTILINE)
    assert len(steps) == len(set(steps)) == 12, "four steps of each of three members, one line each"
    assert "Nothing to change." in _run(clone, "make up"), "the second run touches no member"
    assert _run(clone, "git status --porcelain") == "", "no file of the repository has changed"
    assert "endpoints" in _run(clone, ". .lab/env && pulumi stack output")


def test_make_down_removes_everything(clone: Path) -> None:
    _run(clone, "make down")
    assert not (clone / ".lab").exists() or not any((clone / ".lab").iterdir())
