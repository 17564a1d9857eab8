"""The virtual environment is created again only if its inputs change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import packages, python
from tools.base import ToolError
from tools.packages import ensure_packages, missing
from tools.python import ensure_docs, ensure_python, stamp_of

Runs = list[list[str]]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A repository with requirement files and no .venv; commands are recorded instead of run."""
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(python, "REPOSITORY", tmp_path)
    for name in (*python.REQUIREMENTS, *python.DOCS):
        (tmp_path / name).write_text("a==1 --hash=sha256:00\n")
    recorded: Runs = []

    def run(command: list[str], limit: float, what: str, folder: Path | None = None) -> None:
        recorded.append([what, *command])
        if what == "python3 -m venv":
            (Path(command[-1]) / "bin").mkdir(parents=True)
            for name in ["python", "pip"]:
                (Path(command[-1]) / "bin" / name).write_text("")

    monkeypatch.setattr(python, "run", run)
    return recorded


def test_a_fresh_clone_gets_an_environment_with_hashes_required(runs: Runs, tmp_path: Path) -> None:
    assert ensure_python() == tmp_path / ".venv" / "bin" / "python"
    assert [run[0] for run in runs] == ["python3 -m venv", "pip install"]
    assert runs[1][-5:] == ["--require-hashes", "-r", "requirements.txt", "-r", "requirements-dev.txt"]


def test_nothing_runs_when_nothing_changed(runs: Runs) -> None:
    ensure_python()
    ensure_python()
    assert len(runs) == 2


def test_clones_with_the_same_requirements_share_the_environment_of_the_site(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure_docs()
    assert first.is_relative_to(tmp_path / "cache")
    assert runs[1][-3:] == ["--require-hashes", "-r", "requirements-docs.txt"]
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "requirements-docs.txt").write_bytes((tmp_path / "requirements-docs.txt").read_bytes())
    monkeypatch.setattr(python, "REPOSITORY", clone)
    assert ensure_docs() == first
    assert len(runs) == 2
    (clone / "requirements-docs.txt").write_text("a==2 --hash=sha256:00\n")
    assert ensure_docs() != first


def test_a_changed_requirement_is_installed_into_the_same_environment(runs: Runs, tmp_path: Path) -> None:
    ensure_python()
    (tmp_path / "requirements-dev.txt").write_text("a==2 --hash=sha256:00\n")
    ensure_python()
    assert [run[0] for run in runs] == ["python3 -m venv", "pip install", "pip install"]


def test_an_environment_without_its_python_is_created_again(runs: Runs, tmp_path: Path) -> None:
    ensure_python()
    (tmp_path / ".venv" / "bin" / "python").unlink()
    (tmp_path / ".venv" / "bin" / "pip").unlink()
    (tmp_path / ".venv" / "bin").rmdir()
    ensure_python()
    assert [run[0] for run in runs][2:] == ["python3 -m venv", "pip install"]


def test_a_failed_install_is_repeated(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_python()
    (tmp_path / "requirements.txt").write_text("a==3 --hash=sha256:00\n")

    def fail(_command: list[str], _limit: float, what: str, _folder: Path) -> None:
        raise ToolError(f"{what} failed")

    monkeypatch.setattr(python, "run", fail)
    for _ in range(2):
        with pytest.raises(ToolError, match="pip install failed"):
            ensure_python()


def test_the_stamp_depends_on_every_requirement_file(runs: Runs, tmp_path: Path) -> None:
    stamps = {stamp_of(tmp_path)}
    for name in python.REQUIREMENTS:
        (tmp_path / name).write_text(name)
        stamps.add(stamp_of(tmp_path))
    assert len(stamps) == 3


def test_a_missing_venv_module_is_reported_in_one_sentence(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(python, "can_install", lambda: False)
    with pytest.raises(ToolError, match="sudo apt-get install python3-venv"):
        ensure_python()
    assert runs == []


def test_root_gets_debians_venv_installed(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(python, "can_install", lambda: True)
    monkeypatch.setattr(python, "install", installed.extend)
    ensure_python()
    assert installed == ["python3-venv"]


def test_packages_are_detected_by_a_program() -> None:
    assert missing({"coreutils": "ls", "nothing": "no-such-program"}) == ["nothing"]


def test_missing_packages_are_reported_if_they_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda: ["mmdebstrap", "nftables"])
    monkeypatch.setattr(packages, "can_install", lambda: False)
    with pytest.raises(
        ToolError, match=r"missing Debian packages: mmdebstrap nftables\. Install them as root: apt-get install mmd"
    ):
        ensure_packages()


def test_nothing_is_installed_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", list)
    monkeypatch.setattr(packages, "install", lambda _packages: pytest.fail("apt-get was run"))
    ensure_packages()
