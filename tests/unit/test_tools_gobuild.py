"""A missing or old go is reported in one sentence; the committed modules pin what is built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import kubeadm, languages, pulumi
from tools.base import ToolError
from tools.gobuild import expect_version, go_command, module_folder


def fake_go(folder: Path, version: str, toolchain: str) -> None:
    """Create a go command in `folder` that answers `go env GOVERSION GOTOOLCHAIN`."""
    folder.mkdir(exist_ok=True)
    (folder / "go").write_text(f"#!/bin/sh\nprintf '%s\\n' '{version}' '{toolchain}'\n")
    (folder / "go").chmod(0o755)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module that needs Go 1.26."""
    (tmp_path / "go.mod").write_text("module m\n\ngo 1.26.0\n")
    return tmp_path


def test_a_missing_go_is_reported_with_its_source(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(ToolError, match=r"go is missing\. Install Go 1\.26\.0 or newer \(Debian package golang"):
        go_command(module)


@pytest.mark.parametrize(
    ("version", "toolchain"), [("go1.25.9", "local"), ("go1.19.8", ""), ("go1.20", "auto"), ("", "")]
)
def test_an_old_go_without_toolchain_downloads_is_refused(
    module: Path, monkeypatch: pytest.MonkeyPatch, version: str, toolchain: str
) -> None:
    fake_go(module / "bin", version, toolchain)
    monkeypatch.setenv("PATH", f"{module / 'bin'}:/usr/bin:/bin")
    with pytest.raises(ToolError, match="which is too old"):
        go_command(module)


@pytest.mark.parametrize(("version", "toolchain"), [("go1.26.0", "local"), ("go1.26.8", "auto"), ("go1.24.1", "auto")])
def test_a_new_go_or_one_with_toolchain_downloads_is_used(
    module: Path, monkeypatch: pytest.MonkeyPatch, version: str, toolchain: str
) -> None:
    fake_go(module / "bin", version, toolchain)
    monkeypatch.setenv("PATH", f"{module / 'bin'}:/usr/bin:/bin")
    assert go_command(module) == str(module / "bin" / "go")


def test_a_program_of_another_version_is_refused() -> None:
    expect_version(["/bin/echo", "etcd Version: 3.6.16"], "3.6.16")
    with pytest.raises(ToolError, match=r"does not print 3\.6\.16, but: etcd Version: 3\.6\.15"):
        expect_version(["/bin/echo", "etcd Version: 3.6.15"], "3.6.16")
    with pytest.raises(ToolError, match="does not run"):
        expect_version(["/nowhere/etcd"], "3.6.16")


@pytest.mark.parametrize("version", ["3.5.35", "3.6.16", "3.7.3"])
def test_the_modules_of_etcd_pin_the_version_in_their_name(version: str) -> None:
    text = (module_folder(f"etcd-{version}") / "go.mod").read_text()
    for part in ["server", "etcdctl", "etcdutl"]:
        assert f"go.etcd.io/etcd/{part}/v3 v{version} " in text


def test_pulumi_and_kubernetes_modules_pin_the_stated_versions() -> None:
    assert f"/pulumi/pkg/v3 v{pulumi.BUILT}\n" in (module_folder("pulumi") / "go.mod").read_text()
    for module, version in (("pulumi-language-yaml", languages._YAML), ("pulumi-languages", languages._OTHERS)):
        assert re.search(rf"/(pulumi-yaml|sdk/v3) v{version}\b", (module_folder(module) / "go.mod").read_text()), module
    kubernetes = (module_folder("kubernetes") / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{kubeadm.VERSION} " in kubernetes
    assert set(re.findall(r"=> k8s.io/\S+ v(\S+)", kubernetes)) == {kubeadm.VERSION.replace("1.", "0.", 1)}
