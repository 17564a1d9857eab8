"""etcd's release: downloaded, verified, and unpacked next to the existing ones."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Release, Spec
from . import manager

if TYPE_CHECKING:
    import http.client

    from .mirror import Clock

PROGRAMS = ("etcd", "etcdctl", "etcdutl")
MANIFEST = "release.json"
"""List of the unpacked files, next to them."""
_CHUNK = 1 << 20
_MOST_ARCHIVE = 300 << 20
_MOST_PROGRAM = 300 << 20
_MOST_SUMS = 1 << 20

Digest = Any


def architecture() -> str:
    """This machine's, as archives are named.

    Raises:
        NodeError: there is no release for it.
    """
    machine = os.uname().machine
    known = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in known:
        raise NodeError(
            f"this machine is {machine}, but etcd is released only for amd64 and arm64",
            "Use a machine with one of these architectures.",
        )
    return known[machine]


def directory(version: str) -> Path:
    """Where the programs of a version are."""
    return paths.RELEASES / f"v{version}"


def installed(release: Release) -> bool:
    """Whether the release is unpacked, undamaged and the right one; needs no network.

    The programs are hashed again once after each boot (a power cut can leave a file short of what was written);
    otherwise their sizes are compared.
    """
    place = directory(release.version)
    try:
        manifest = json.loads((place / MANIFEST).read_bytes())
        wanted = release.sha256.get(architecture())
        if not manifest["archive_sha256"] or (wanted is not None and manifest["archive_sha256"] != wanted):
            return False
        for name in PROGRAMS:
            known, found = manifest["programs"][name], (place / name).stat()
            if found.st_size != known["size"] or found.st_mode & 0o111 != 0o111:
                return False
        if manifest["boot"] != _boot():
            if damaged(release.version):
                return False
            files.write(place / MANIFEST, json.dumps({**manifest, "boot": _boot()}, indent=2) + "\n")
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def damaged(version: str) -> list[str]:
    """The programs of an unpacked release that are not what its archive had; hashes all of them."""
    place = directory(version)
    known = (files.read_json(place / MANIFEST) or {}).get("programs", {})
    sums = {name: _sha256(place / name) if (place / name).is_file() else "" for name in PROGRAMS}
    return [name for name, found in sums.items() if found != known.get(name, {}).get("sha256")]


def ensure(spec: Spec) -> None:
    """Installs the release unless it is installed and undamaged.

    Raises:
        NodeError: there is no room, no working time service, or no such archive.
    """
    phase("install the release")
    if installed(spec.release):
        return
    from ..machine import time_service  # noqa: PLC0415  like the mirror's module

    time_service.check()
    needed, free = room_needed(paths.RELEASES)
    if free < needed:
        raise NodeError(
            f"the file system of {paths.RELEASES} has {free >> 20} MiB free; a release needs {needed >> 20} MiB",
            "Make room there, then run again.",
        )
    install(spec.release, gently=manager.show().runs)


def install(release: Release, clock: Clock = time.time, *, gently: bool = False) -> None:
    """Downloads, checks and unpacks the release.

    The archive is hashed and unpacked while it arrives, into a directory that gets its name only when the sum is right.

    Args:
        clock: this machine's time, in seconds since 1970.
        gently: pause as long as it works, so that the running member gets its share of the CPUs.

    Raises:
        NodeError: mirror unreachable, no such release, wrong checksum, or the mirror's clock and this machine's differ.
    """
    # Almost always the release is there, and reading archives and mirrors is half of what Python would load.
    from .mirror import open_url  # noqa: PLC0415

    arch = architecture()
    folder = f"etcd-v{release.version}-linux-{arch}"
    url = f"{release.mirror}/v{release.version}/{folder}.tar.gz"
    wanted = release.sha256.get(arch)
    source = "the specification"
    if wanted is None:
        source = f"{release.mirror}/v{release.version}/SHA256SUMS"
        phase(f"fetch {source}")
        with open_url(source, release, clock) as answer:
            wanted = listed(answer.read(_MOST_SUMS).decode(errors="replace"), f"{folder}.tar.gz", source)
    paths.RELEASES.mkdir(mode=0o755, parents=True, exist_ok=True)
    for left_over in paths.RELEASES.glob(".v*.new"):
        files.remove_tree(left_over)
    fresh = paths.RELEASES / f".v{release.version}.new"
    fresh.mkdir(mode=0o700)
    phase(f"fetch {url}")
    try:
        with open_url(url, release, clock) as answer:
            stream = Hashed(answer, url, gently)
            programs = _unpack(stream, folder, fresh)
            stream.drain()
        check_sum(stream.digest.hexdigest(), wanted, url, source)
        if programs is None:
            raise NodeError(
                f"{url} has the right checksum but is not an archive with {', '.join(PROGRAMS)}",
                "Use the archive that the release publishes.",
            )
        manifest = {"url": url, "archive_sha256": wanted, "programs": programs, "boot": _boot()}
        files.write(fresh / MANIFEST, json.dumps(manifest, indent=2) + "\n", 0o644)
        fresh.chmod(0o755)
        _put(fresh, directory(release.version))
    finally:
        files.remove_tree(fresh)
    say(f"release {release.version} unpacked")


def distrust(version: str) -> None:
    """Marks this release for a new download and check, because its etcd did not start."""
    place = directory(version) / MANIFEST
    manifest = files.read_json(place)
    if manifest is not None:
        files.write(place, json.dumps({**manifest, "archive_sha256": ""}, indent=2) + "\n")


def link(version: str) -> None:
    """Links etcdctl and etcdutl of this version into PATH, unless other programs have these names."""
    for name in PROGRAMS[1:]:
        path = paths.LINKS / name
        if ours(path) or not os.path.lexists(path):
            files.symlink(path, directory(version) / name)


def ours(path: Path) -> bool:
    """Whether this is a link into our releases."""
    return path.is_symlink() and paths.RELEASES in path.readlink().parents


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def listed(sums: str, name: str, source: str) -> str:
    """The SHA-256 of an archive in the text of a SHA256SUMS.

    Raises:
        NodeError: it has none.
    """
    for line in sums.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].lstrip("*") == name and len(words[0]) == 64:
            return words[0].lower()
    raise NodeError(
        f"{source} has no line for {name}",
        "Check the version and the mirror, or state the archive's SHA-256 (`releaseSha256`).",
    )


class Hashed:
    """A response that is hashed as it is read, and refused when it is too long."""

    def __init__(self, answer: http.client.HTTPResponse, url: str, gently: bool) -> None:
        self._answer = answer
        self._url = url
        self._gently = gently
        self._worked = time.process_time()
        self._count = 0
        self.digest: Digest = hashlib.sha256()

    def read(self, size: int = _CHUNK) -> bytes:
        from http.client import HTTPException  # noqa: PLC0415  loaded by the mirror's module

        # Here and not by priorities: with those, a serving member waits for whole ticks of the scheduler.
        if self._gently:
            time.sleep(time.process_time() - self._worked)
            self._worked = time.process_time()
        try:
            chunk = self._answer.read(size)
        except (OSError, HTTPException) as error:
            raise NodeError(
                f"the download of {self._url} broke off after {self._count} bytes "
                f"({str(error) or type(error).__name__})",
                "Run again. If it breaks off again, use a nearer mirror (`releaseMirror`).",
            ) from None
        self._count += len(chunk)
        if self._count > _MOST_ARCHIVE:
            raise NodeError(
                f"{self._url} is longer than {_MOST_ARCHIVE} bytes, more than any release", "Check the mirror."
            )
        self.digest.update(chunk)
        return chunk

    def drain(self) -> None:
        while self.read():
            pass


def _unpack(stream: Hashed, folder: str, target: Path) -> dict[str, dict[str, str | int]] | None:
    """Writes the programs into `target`; None if the stream is not such an archive.

    Only regular files with exactly the expected names are written, under names from here: nothing in an archive can
    choose where it lands.
    """
    import tarfile  # noqa: PLC0415  like the mirror's module

    expected = {f"{folder}/{name}": name for name in PROGRAMS}
    found: dict[str, dict[str, str | int]] = {}
    try:
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|gz", bufsize=_CHUNK) as archive:
            for entry in archive:
                name = expected.get(entry.name)
                if name is None or not entry.isfile() or name in found:
                    continue
                content = archive.extractfile(entry)
                if content is None or entry.size > _MOST_PROGRAM:
                    return None
                found[name] = _write_program(content, target / name)
                if len(found) == len(PROGRAMS):
                    break
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise NodeError(
                f"the release cannot be written to {target.parent} ({error.strerror})",
                "Make room there (about 200 MB), then run again.",
            ) from None
        return None
    return found if len(found) == len(PROGRAMS) else None


def _write_program(content: IO[bytes], path: Path) -> dict[str, str | int]:
    digest = hashlib.sha256()
    size = 0
    with path.open("xb") as file:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            size += file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "size": size}


def check_sum(found: str, wanted: str, url: str, source: str) -> None:
    """Refuses an archive with another SHA-256 than `source` says.

    Raises:
        NodeError: they differ.
    """
    if found != wanted:
        raise NodeError(
            f"{url} has SHA-256 {found}, and {source} says {wanted}; nothing was installed",
            "Do not use this archive before you know the cause: a broken mirror, a wrong checksum in the config "
            "(`releaseSha256`), or a tampered file.",
        )


def _put(fresh: Path, place: Path) -> None:
    """Gives the new directory its name, or repairs the one that has it.

    A repair replaces only files that differ: a member that runs from undamaged files must not restart.
    """
    if not place.exists():
        fresh.rename(place)
        for above in (place.parent, place.parent.parent):
            files.sync_directory(above)
        return
    place.chmod(0o755)
    for name in (*PROGRAMS, MANIFEST):  # the manifest last: until then the release counts as damaged
        whole = (place / name).is_file() and name != MANIFEST and _sha256(place / name) == _sha256(fresh / name)
        if not whole:
            (fresh / name).rename(place / name)
        else:
            (place / name).chmod(0o755)
    files.sync_directory(place)


def room_needed(place: Path) -> tuple[int, int]:
    """Bytes that an installation needs, and free bytes, in the directory of releases."""
    while not place.exists():
        place = place.parent
    return 200 << 20, shutil.disk_usage(place).free
