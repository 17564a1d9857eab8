"""The Pulumi on PATH is used if it can run this project; otherwise one from the cache is linked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import pulumi
from tools.base import ToolError
from tools.pulumi import ensure_pulumi, on_path, parse_version


def program(path: Path, text: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder on PATH besides the system's, empty; cache and links are in the test's folder too."""
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pulumi, "LINKS", tmp_path / "links")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def test_versions_are_compared_as_numbers() -> None:
    assert parse_version("v3.232.0\n") == (3, 232, 0)
    assert parse_version("v3.1000.1-alpha.1") > (3, 232, 0) > parse_version("3.99.0")
    with pytest.raises(ToolError, match="'command not found' is not a Pulumi version"):
        parse_version("command not found")


def test_without_a_pulumi_on_path_there_is_none(folder: Path) -> None:
    assert on_path() is None


def test_a_new_enough_pulumi_on_path_is_used(folder: Path) -> None:
    program(folder / "pulumi", "echo v3.260.0")
    program(folder / "pulumi-language-python", "")
    assert ensure_pulumi() == folder


def test_an_old_pulumi_is_refused(folder: Path) -> None:
    program(folder / "pulumi", "echo v3.231.9")
    with pytest.raises(ToolError, match=r"is 3\.231\.9, older than 3\.232\.0"):
        on_path()


def test_a_pulumi_without_the_python_plugin_is_refused(folder: Path) -> None:
    program(folder / "pulumi", "echo v3.260.0")
    with pytest.raises(ToolError, match="has no pulumi-language-python"):
        on_path()


def test_a_plugin_beside_a_links_target_is_found(folder: Path, tmp_path: Path) -> None:
    program(tmp_path / "real" / "pulumi", "echo v3.260.0")
    program(tmp_path / "real" / "pulumi-language-python", "")
    (folder / "pulumi").symlink_to(tmp_path / "real" / "pulumi")
    assert on_path() == folder


def test_an_earlier_runs_link_is_not_the_computers_pulumi(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "links" / "pulumi", "echo v3.260.0")
    program(tmp_path / "links" / "pulumi-language-python", "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'links'}:/usr/bin:/bin")
    assert on_path() is None


@pytest.mark.parametrize("place", ["_official_folder", "_built_folder"])
def test_a_cached_pulumi_is_linked_without_the_network(folder: Path, place: str) -> None:
    cached = program(getattr(pulumi, place)() / "pulumi", "echo v3.232.0")
    links = ensure_pulumi()
    assert (links / "pulumi").resolve() == cached.resolve()
    assert ensure_pulumi() == links


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ("runtime:\n  name: python\n  options:\n    virtualenv: .venv\n", "-root {} -virtualenv .venv "),
        ('runtime:\n  name: python\n  options:\n    virtualenv: ".venv"  # here\n', "-root {} -virtualenv .venv "),
        ("runtime: {name: python, options: {virtualenv: .venv}}\n", "-root {} -virtualenv .venv "),
        (None, ""),
    ],
)
def test_the_built_language_host_gets_the_virtual_environment(tmp_path: Path, options: str | None, given: str) -> None:
    host = tmp_path / "host"
    program(host / "built" / "pulumi-language-python", 'echo "$@"')
    program(host / "pulumi-language-python", "").write_text(pulumi._HOST_SCRIPT)
    if options is not None:
        (tmp_path / "Pulumi.yaml").write_text(options)
    run = [str(host / "pulumi-language-python"), "127.0.0.1:1"]
    said = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=10, check=True).stdout
    assert said == f"{given.format(tmp_path)}127.0.0.1:1\n"
