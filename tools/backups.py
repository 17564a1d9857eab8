"""What snapshots that are kept elsewhere need: archives of age and rclone for machines, and an S3 server for tests."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.base import ToolError, architecture, cache, first_way, lock, put_in_place, scratch
from tools.download import checksum_in, fetch, read_text, sha256
from tools.etcd import SUMS, pack
from tools.gobuild import build, expect_version, module_folder

VERSITYGW = "1.8.0"
KEYGEN = "age-keygen"
# Those of components/plan/backup.py, which a computer without Pulumi cannot import.
_VERSIONS = {"age": "1.3.1", "rclone": "1.75.1"}
_RELEASES = {
    "age": "https://github.com/FiloSottile/age/releases/download",
    "rclone": "https://github.com/rclone/rclone/releases/download",
}
_AGE_SHA256 = {
    "amd64": "bdc69c09cbdd6cf8b1f333d372a1f58247b3a33146406333e30c0f26e8f51377",
    "arm64": "c6878a324421b69e3e20b00ba17c04bc5c6dab0030cfe55bf8f68fa8d9e9093a",
}


_ORIGIN = "origin"
_OFFICIAL = "official release"


def archive_of(program: str) -> Path:
    """Return the path of the archive of `age` or `rclone` below the folder that the lab's mirror serves."""
    name = f"{program}-v{_VERSIONS[program]}-linux-{architecture()}.{'tar.gz' if program == 'age' else 'zip'}"
    return cache() / "etcd" / program / f"v{_VERSIONS[program]}" / name


def _official(program: str, target: Path) -> None:
    folder = f"{_RELEASES[program]}/v{_VERSIONS[program]}"
    # age publishes no file with checksums.
    known = _AGE_SHA256[architecture()] if program == "age" else ""
    fetch(f"{folder}/{target.name}", target, known or checksum_in(read_text(f"{folder}/{SUMS}"), target.name, folder))


def _built(program: str, target: Path) -> None:
    with scratch() as place:
        package = "filippo.io/age/cmd/age" if program == "age" else "."
        version = _VERSIONS[program]
        variable = "main.Version" if program == "age" else "github.com/rclone/rclone/fs.Version"
        build(f"{program} {version}", program, package, place / program, f"-s -w -X {variable}=v{version}")
        expect_version([str(place / program), "--version"], f"v{version}")
        content = (place / program).read_bytes()
        if program == "age":
            build(f"{KEYGEN} {version}", program, f"filippo.io/age/cmd/{KEYGEN}", place / KEYGEN)
            pack({"age": content, KEYGEN: (place / KEYGEN).read_bytes()}, "age", target)
            return
    with zipfile.ZipFile(target, "w") as zipped:
        # Level 1: the archive only travels over a local bridge.
        zipped.writestr(zipfile.ZipInfo(f"{target.stem}/rclone"), content, zipfile.ZIP_DEFLATED, 1)


def ensure_archive(program: str) -> Path:
    """Return the archive of `age` or `rclone`, with SHA256SUMS beside it; builds it if missing, which takes minutes.

    Raises:
        ToolError: no way to get it worked.
    """
    final = archive_of(program)
    if _whole(program, final):
        return final
    with lock("build"), scratch() as folder:
        if _whole(program, final):
            return final
        ready = folder / "ready"
        ready.mkdir()
        target = ready / final.name
        ways: Mapping[str, tuple[Callable[[str, Path], None], str]] = {
            _OFFICIAL: (_official, _OFFICIAL),
            "built from Go modules": (_built, _sources(program)),
        }

        def way(get: Callable[[str, Path], None], origin: str) -> Callable[[], None]:
            def run() -> None:
                get(program, target)
                (ready / _ORIGIN).write_text(origin)

            return run

        first_way(f"{program} {_VERSIONS[program]}", [(name, way(*each)) for name, each in ways.items()])
        (ready / SUMS).write_text(f"{sha256(target)}  {target.name}\n")
        put_in_place(ready, final.parent)
    return final


def _sources(program: str) -> str:
    """A digest of what a build is made from: rclone is built with some of its stores only."""
    files = sorted(path for path in module_folder(program).iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _whole(program: str, archive: Path) -> bool:
    try:
        if (archive.parent / _ORIGIN).read_text() not in (_OFFICIAL, _sources(program)):
            return False
        if checksum_in((archive.parent / SUMS).read_text(), archive.name, SUMS) != sha256(archive):
            return False
        if archive.name.startswith("age"):
            # An earlier version of this program has packed one without it.
            with tarfile.open(archive) as tar:
                tar.getmember(f"age/{KEYGEN}")
        return True
    except (OSError, ToolError, KeyError):
        return False


def ensure_program(name: str, package: str, module: str, version: str) -> Path:
    """Return a program for this computer, built from the pinned Go module."""
    final = cache() / "backups" / f"{name}-{version}"
    if final.is_file():
        return final
    with lock("build"), scratch() as folder:
        if not final.is_file():
            build(f"{name} {version}", module, package, folder / name)
            put_in_place(folder / name, final)
    return final


def ensure_versitygw() -> Path:
    """Return the path of the S3 server versitygw; builds it if missing, which takes minutes.

    Raises:
        ToolError: go is missing, or the build failed.
    """
    return ensure_program("versitygw", "github.com/versity/versitygw/cmd/versitygw", "versitygw", VERSITYGW)


def age_program(name: str) -> Path:
    """Return `age` or `age-keygen` for this computer, which creates and uses keys in tests."""
    return ensure_program(name, f"filippo.io/age/cmd/{name}", "age", _VERSIONS["age"])


def ensure_backups() -> None:
    """Get all of it.

    Raises:
        ToolError: no way to get one worked.
    """
    for program in _VERSIONS:
        ensure_archive(program)
    for name in ("age", "age-keygen"):
        age_program(name)
    ensure_versitygw()
