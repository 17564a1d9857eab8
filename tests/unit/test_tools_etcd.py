"""etcd archives look like the official ones and are created once."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tools import etcd
from tools.base import ToolError, UnreachableError, architecture
from tools.download import sha256
from tools.etcd import archive_of, ensure_etcd, etcd_binary, name_of, pack

FILES = {"etcdctl": b"#!/bin/sh\n", "README.md": b"# etcd\n", "etcd": b"\x7fELF", "etcdutl": b""}
Calls = list[str]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """An empty cache; the official release is unreachable, and a build packs FILES. Returns the attempts."""
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    tried: Calls = []

    def official(_version: str, _folder: Path) -> None:
        tried.append("official")
        raise UnreachableError("h cannot be reached")

    def built(version: str, folder: Path) -> None:
        tried.append("built")
        top = name_of(version, architecture())
        pack(FILES, top, folder / f"{top}.tar.gz")
        (folder / "SHA256SUMS").write_text(f"{sha256(folder / f'{top}.tar.gz')}  {top}.tar.gz\n")

    monkeypatch.setattr(etcd, "_official", official)
    monkeypatch.setattr(etcd, "_built", built)
    return tried


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    pack(FILES, "etcd-v1", tmp_path / "a.tar.gz")
    pack(dict(reversed(FILES.items())), "etcd-v1", tmp_path / "b.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


def test_an_archive_has_one_top_folder_and_executable_programs_of_root(tmp_path: Path) -> None:
    pack(FILES, "etcd-v1", tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        found = {entry.name: (oct(entry.mode), entry.uid, entry.gid, entry.mtime) for entry in tar}
    assert found == {
        "etcd-v1": ("0o755", 0, 0, 0),
        "etcd-v1/README.md": ("0o644", 0, 0, 0),
        "etcd-v1/etcd": ("0o755", 0, 0, 0),
        "etcd-v1/etcdctl": ("0o755", 0, 0, 0),
        "etcd-v1/etcdutl": ("0o755", 0, 0, 0),
    }


def test_an_archive_is_created_once(calls: Calls) -> None:
    folder = ensure_etcd("3.6.16")
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", archive_of("3.6.16").name]
    assert ensure_etcd("3.6.16") == folder
    assert calls == ["official", "built"]


def test_a_damaged_archive_is_created_again(calls: Calls) -> None:
    ensure_etcd("3.6.16")
    archive_of("3.6.16").write_bytes(b"half")
    ensure_etcd("3.6.16")
    assert calls == ["official", "built", "official", "built"]


def test_a_program_is_unpacked_for_use_on_this_computer(calls: Calls) -> None:
    program = etcd_binary("3.6.16", "etcdctl")
    assert program.read_bytes() == FILES["etcdctl"]
    assert program.stat().st_mode & 0o777 == 0o755
    assert etcd_binary("3.6.16", "etcd").parent == program.parent
    assert calls == ["official", "built"]


@pytest.mark.parametrize("version", ["v3.6.16", "3.6", "../3.6.16", "latest", ""])
def test_an_invalid_version_is_refused_first(calls: Calls, version: str) -> None:
    with pytest.raises(ToolError, match="is not an etcd version"):
        ensure_etcd(version)
    assert calls == []


def test_a_version_without_a_committed_module_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"there is no tools/go/etcd-3\.4\.0 .*etcd-3\.6\.16"):
        etcd._built("3.4.0", tmp_path)


def test_an_unknown_program_is_refused() -> None:
    with pytest.raises(ToolError, match="There are: etcd, etcdctl, etcdutl"):
        etcd_binary("3.6.16", "etcdump")
