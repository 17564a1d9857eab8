"""Downloading, verifying and unpacking a release, from a web server on this computer."""

import hashlib
import http.server
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from components.node.service import mirror as mirrors
from components.node.service import release
from components.node.shared import files, paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Release
from tests.support.web import served_by

VERSION = "3.6.16"


class Mirror:
    """A web server with an archive that tests change."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.clock_offset = 0.0
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                body = mirror.content.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate((timestamp or time.time()) + mirror.clock_offset, usegmt=True)

        self.handler, self.url = Handler, ""
        arch = release.architecture()
        self.folder = f"etcd-v{VERSION}-linux-{arch}"
        self.archive_path = f"/v{VERSION}/{self.folder}.tar.gz"
        self.sums_path = f"/v{VERSION}/SHA256SUMS"
        self.serve(archive(self.folder))

    def serve(self, data: bytes) -> None:
        """Serve this archive, with the right checksum."""
        self.content[self.archive_path] = data
        self.content[self.sums_path] = f"{'0' * 64}  other.tar.gz\n{sha256(data)}  {self.folder}.tar.gz\n".encode()

    def release(self, **sha: str) -> Release:
        """The release as in a specification."""
        return Release(VERSION, self.url, sha)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def archive(folder: str, *entries: tarfile.TarInfo, without: str = "") -> bytes:
    """An archive like the release's, with additional entries before the programs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
        for name in ("README.md", *release.PROGRAMS):
            if name != without:
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size = 5000
                tar.addfile(entry, io.BytesIO(name.encode().ljust(5000, b".")))
    return buffer.getvalue()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setattr(paths, "RELEASES", tmp_path / "opt")
    original = files.write_together

    def as_this_user(contents: dict[Path, bytes | str], rights: dict[Path, tuple[int, int, int]]) -> list[Path]:
        return original(contents, {path: (mode, os.getuid(), os.getgid()) for path, (mode, _, _) in rights.items()})

    monkeypatch.setattr(files, "write_together", as_this_user)
    found = Mirror()
    with served_by(found.handler) as found.url:
        yield found


def left_over() -> list[str]:
    return sorted(path.name for path in paths.RELEASES.iterdir()) if paths.RELEASES.exists() else []


def test_an_installed_release_needs_no_network(mirror: Mirror) -> None:
    assert not release.installed(mirror.release())
    release.install(mirror.release())
    asked = len(mirror.asked)
    assert release.installed(mirror.release())
    assert len(mirror.asked) == asked
    assert left_over() == [f"v{VERSION}"]
    place = release.directory(VERSION)
    assert sorted(path.name for path in place.iterdir()) == [*release.PROGRAMS, release.MANIFEST]
    assert all(os.access(place / name, os.X_OK) for name in release.PROGRAMS)


def test_beside_a_running_member_unpacking_takes_half_the_cpu(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    worked = [0.0]
    rests: list[float] = []

    def process_time() -> float:
        worked[0] += 0.25
        return worked[0]

    monkeypatch.setattr(time, "process_time", process_time)
    monkeypatch.setattr(time, "sleep", rests.append)
    release.install(mirror.release())
    assert rests == []
    shutil.rmtree(release.directory(VERSION))
    release.install(mirror.release(), gently=True)
    assert rests and set(rests) == {0.25}


def test_a_configured_checksum_needs_no_list(mirror: Mirror) -> None:
    del mirror.content[mirror.sums_path]
    wanted = mirror.release(**{release.architecture(): sha256(mirror.content[mirror.archive_path])})
    release.install(wanted)
    assert release.installed(wanted)


def test_a_wrong_checksum_is_refused_with_both_sums_and_the_url(mirror: Mirror) -> None:
    right = sha256(mirror.content[mirror.archive_path])
    with pytest.raises(NodeError, match="nothing was installed") as caught:
        release.install(mirror.release(**{release.architecture(): "a" * 64}))
    assert right in caught.value.cause
    assert "a" * 64 in caught.value.cause
    assert mirror.archive_path in caught.value.cause
    assert left_over() == []


@pytest.mark.parametrize("damage", [lambda data: data[:200], bytes.swapcase])
def test_a_truncated_or_changed_archive_is_refused(mirror: Mirror, damage: Callable[[bytes], bytes]) -> None:
    mirror.content[mirror.archive_path] = damage(mirror.content[mirror.archive_path])
    with pytest.raises(NodeError, match="nothing was installed"):
        release.install(mirror.release())
    assert left_over() == []


def test_a_version_missing_on_the_mirror_is_reported_with_its_url(mirror: Mirror) -> None:
    mirror.content.clear()
    with pytest.raises(NodeError, match=r"SHA256SUMS answers 404"):
        release.install(mirror.release())


def test_a_list_without_the_archive_is_refused(mirror: Mirror) -> None:
    mirror.content[mirror.sums_path] = b""
    with pytest.raises(NodeError, match="has no line for"):
        release.install(mirror.release())


def test_an_unreachable_mirror_is_reported_with_a_remedy(mirror: Mirror) -> None:
    with pytest.raises(NodeError, match=r"cannot be reached.*releaseMirror"):
        release.install(Release(VERSION, "http://127.0.0.1:9", {}))


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
def test_a_clock_that_differs_from_the_mirrors_is_refused_before_the_download(mirror: Mirror, offset: float) -> None:
    mirror.clock_offset = offset
    with pytest.raises(NodeError, match=r"clock of this machine.*chrony or systemd-timesyncd"):
        release.install(mirror.release())
    assert mirror.asked == [mirror.sums_path]


def test_a_clock_may_differ_by_five_seconds() -> None:
    date = formatdate(1_000_000, usegmt=True)
    for now in (999_995.0, 1_000_000.0, 1_000_005.9):
        mirrors.check_clock(date, "http://mirror/x", now)
    for now in (999_994.0, 1_000_007.0):
        with pytest.raises(NodeError):
            mirrors.check_clock(date, "http://mirror/x", now)
    mirrors.check_clock("", "http://mirror/x", 0)
    mirrors.check_clock("yesterday", "http://mirror/x", 0)


def entry(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 3) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return info


def test_an_archive_cannot_write_outside_its_place(mirror: Mirror, tmp_path: Path) -> None:
    tricks = [
        entry("../evil"),
        entry(str(tmp_path / "evil")),
        entry(f"{mirror.folder}/../../evil"),
        entry(f"{mirror.folder}/etcd", kind=tarfile.SYMTYPE, link=str(tmp_path / "evil")),
        entry(f"{mirror.folder}/etcdctl", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        entry(f"{mirror.folder}", kind=tarfile.SYMTYPE, link=str(tmp_path)),
    ]
    mirror.serve(archive(mirror.folder, *tricks))
    release.install(mirror.release())
    assert not list(tmp_path.rglob("evil"))
    assert not (release.directory(VERSION) / "etcd").is_symlink()
    assert (release.directory(VERSION) / "etcdctl").read_bytes().startswith(b"etcdctl")


def test_an_archive_without_a_program_is_refused(mirror: Mirror) -> None:
    mirror.serve(archive(mirror.folder, without="etcdutl"))
    with pytest.raises(NodeError, match="not an archive with"):
        release.install(mirror.release())
    assert left_over() == []


def test_a_non_archive_with_the_right_checksum_is_refused(mirror: Mirror) -> None:
    mirror.serve(b"<html>please log in</html>")
    with pytest.raises(NodeError, match="not an archive with"):
        release.install(mirror.release())


@pytest.mark.parametrize("name", release.PROGRAMS)
def test_only_a_damaged_program_is_written_again(mirror: Mirror, name: str) -> None:
    release.install(mirror.release())
    place = release.directory(VERSION)
    before = {each: (place / each).stat().st_ino for each in release.PROGRAMS}
    (place / name).write_bytes(b"short")
    assert not release.installed(mirror.release())
    release.install(mirror.release())
    assert release.installed(mirror.release())
    assert {each for each in release.PROGRAMS if (place / each).stat().st_ino != before[each]} == {name}


def test_a_changed_program_of_equal_size_is_found_after_reboot(mirror: Mirror) -> None:
    release.install(mirror.release())
    manifest = release.directory(VERSION) / release.MANIFEST
    (release.directory(VERSION) / "etcd").write_bytes(b"\0" * 5000)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "boot": "another"}))
    assert not release.installed(mirror.release())


def test_another_configured_checksum_needs_another_archive(mirror: Mirror) -> None:
    release.install(mirror.release())
    assert not release.installed(mirror.release(**{release.architecture(): "b" * 64}))


def test_leftovers_of_an_interrupted_run_are_removed(mirror: Mirror) -> None:
    (paths.RELEASES / ".v3.6.16.new").mkdir(parents=True)
    (paths.RELEASES / ".v3.6.16.new" / "etcd").write_bytes(b"half")
    release.install(mirror.release())
    assert left_over() == [f"v{VERSION}"]
