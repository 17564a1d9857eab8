"""The official releases: their URLs, their names, and their use. A local folder serves them here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import etcd, kubeadm, pulumi
from tools.base import REPOSITORY, ToolError
from tools.download import sha256
from tools.etcd import ensure_etcd, etcd_binary, pack
from tools.kubeadm import ensure_kubeadm
from tools.pulumi import ensure_pulumi


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that serves releases, on an amd64 computer with an empty cache and no go."""
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(pulumi, "LINKS", tmp_path / "links")
    folder = tmp_path / "releases"
    folder.mkdir()
    for module, name in [(etcd, "RELEASES"), (kubeadm, "RELEASES"), (pulumi, "ARCHIVES"), (pulumi, "CHECKSUMS")]:
        monkeypatch.setattr(module, name, folder.as_uri())
    return folder


def script(version: str) -> bytes:
    """A program that prints `version`."""
    return f"#!/bin/sh\necho {version}\n".encode()


def test_the_official_etcd_archive_is_kept_with_its_checksums(releases: Path) -> None:
    served = releases / "v3.6.16" / "etcd-v3.6.16-linux-amd64.tar.gz"
    served.parent.mkdir()
    pack(dict.fromkeys(["etcd", "etcdctl", "etcdutl"], script("3.6.16")), "etcd-v3.6.16-linux-amd64", served)
    sums = f"{'0' * 64}  etcd-v3.6.16-linux-arm64.tar.gz\n{sha256(served)}  {served.name}\n"
    (served.parent / "SHA256SUMS").write_text(sums)
    folder = ensure_etcd("3.6.16")
    assert (folder / served.name).read_bytes() == served.read_bytes()
    assert (folder / "SHA256SUMS").read_text() == sums
    assert etcd_binary("3.6.16", "etcdutl").read_bytes() == script("3.6.16")


def test_the_official_kubeadm_is_checked_against_the_file_beside_it(releases: Path) -> None:
    served = releases / f"v{kubeadm.VERSION}" / "bin" / "linux" / "amd64" / "kubeadm"
    served.parent.mkdir(parents=True)
    served.write_bytes(script(f"v{kubeadm.VERSION}"))
    (served.parent / "kubeadm.sha256").write_text(sha256(served))
    assert ensure_kubeadm().read_bytes() == served.read_bytes()
    assert ensure_kubeadm().stat().st_mode & 0o777 == 0o755


def pulumi_release(releases: Path, checksum: str | None = None) -> None:
    """Serve an official Pulumi release with one plugin."""
    served = releases / f"pulumi-v{pulumi.OFFICIAL}-linux-x64.tar.gz"
    pack({"pulumi": script(f"v{pulumi.OFFICIAL}"), "pulumi-language-python": b""}, "pulumi", served)
    sums = releases / f"v{pulumi.OFFICIAL}" / f"pulumi-{pulumi.OFFICIAL}-checksums.txt"
    sums.parent.mkdir()
    sums.write_text(f"{checksum or sha256(served)}  {served.name}\n")


def test_the_official_pulumi_is_unpacked_with_its_plugins_and_linked(releases: Path, tmp_path: Path) -> None:
    pulumi_release(releases)
    assert ensure_pulumi() == tmp_path / "links"
    real = (tmp_path / "links" / "pulumi").resolve()
    assert sorted(path.name for path in real.parent.iterdir()) == ["pulumi", "pulumi-language-python"]


def test_a_pulumi_with_a_wrong_checksum_is_not_used(
    releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi_release(releases, "0" * 64)

    def no_go(_folder: Path) -> Path:
        raise ToolError("go is missing")

    monkeypatch.setattr(pulumi, "_built", no_go)
    with pytest.raises(ToolError, match="it is not used; go is missing"):
        ensure_pulumi()
    assert not (tmp_path / "links").exists()
    assert not (tmp_path / "cache" / "pulumi").exists()


def test_an_archive_cannot_write_outside_of_its_folder(releases: Path, tmp_path: Path) -> None:
    pulumi_release(releases)
    served = releases / f"pulumi-v{pulumi.OFFICIAL}-linux-x64.tar.gz"
    pack({"pulumi": script(f"v{pulumi.OFFICIAL}"), "../../outside": b""}, "pulumi", served)
    sums = releases / f"v{pulumi.OFFICIAL}" / f"pulumi-{pulumi.OFFICIAL}-checksums.txt"
    sums.write_text(f"{sha256(served)}  {served.name}\n")
    ensure_pulumi()
    assert [path.parent.name for path in tmp_path.rglob("outside")] == ["v" + pulumi.OFFICIAL + "-amd64"]


def test_pulumi_versions_match_the_sdk_and_the_project() -> None:
    pinned = re.search(r"^pulumi==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] == pulumi.OFFICIAL
    oldest = ".".join(map(str, pulumi.OLDEST))
    assert f'requiredPulumiVersion: ">={oldest}"' in (REPOSITORY / "Pulumi.yaml").read_text()
