"""Prometheus comes from Debian's package, and CRDs of its operator only with the pinned checksum."""

from pathlib import Path

import pytest

from tools import prometheus
from tools.base import ToolError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_an_installed_prometheus_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for programs in prometheus.PACKAGES.values():
        for name in programs:
            (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prometheus.ensure_prometheus() == tmp_path


def test_a_missing_package_is_reported_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho no such package\nexit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"no such package\nTests need Debian's packages prometheus, "):
        prometheus.ensure_prometheus()


def test_a_crd_with_another_checksum_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tagged = tmp_path / "tags" / prometheus.FOLDER
    tagged.mkdir(parents=True)
    (tagged / prometheus.crd("servicemonitors")).write_text("kind: Other\n")
    monkeypatch.setattr(prometheus, "TAGS", (tmp_path / "tags").as_uri())
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(ToolError, match=r"servicemonitors\.yaml has the SHA-256 .* go is missing"):
        prometheus.ensure_operator_crds()
