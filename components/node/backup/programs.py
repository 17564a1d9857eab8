"""rclone and age: programs in an archive of their release, checked like etcd's."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from ..service import release
from ..service.mirror import open_url
from ..shared import files, paths
from ..shared.backup import Backup, Program
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Release

_CONTENTS = {"age": ("age", "age-keygen"), "rclone": ("rclone",)}
"""Archive -> the programs of it that are installed."""
_CHUNK = 1 << 20
_MOST = 300 << 20
_MOST_SUMS = 1 << 20
_PROXY = "proxy-authorization"


def path(backup: Backup, name: str) -> Path:
    """The program on this machine."""
    archive = next(each for each, programs in _CONTENTS.items() if name in programs)
    return paths.BACKUP_PROGRAMS / f"{name}-v{backup.programs[archive].version}"


def ensure(backup: Backup, mirror: Release) -> None:
    """Installs the programs that are missing or damaged, and removes those of other versions.

    Args:
        mirror: for proxy and headers; headers are sent to the mirror alone.

    Raises:
        NodeError: an archive cannot be fetched, or has another checksum.
    """
    phase("install rclone and age")
    files.directory(paths.BACKUP_PROGRAMS)
    current = set()
    for archive, program in backup.programs.items():
        wanted = {name: path(backup, name) for name in _CONTENTS[archive]}
        if not all(_installed(each, program) for each in wanted.values()):
            _install(archive, program, mirror, wanted)
        current |= {each.name for each in wanted.values()}
    for old in paths.BACKUP_PROGRAMS.iterdir():
        if old.name.removesuffix(".json") not in current:
            old.unlink()


def damaged(backup: Backup) -> list[str]:
    """Those that are missing, or are not what their archive had."""
    wanted = [(path(backup, name), program) for each, program in backup.programs.items() for name in _CONTENTS[each]]
    return [str(there) for there, program in wanted if not _installed(there, program)]


def _installed(there: Path, program: Program) -> bool:
    """Whether the program is what its archive had; hashes it, which takes a tenth of a second."""
    try:
        manifest = json.loads(there.with_name(f"{there.name}.json").read_bytes())
        wanted = program.sha256.get(release.architecture(), manifest["archive_sha256"])
        with there.open("rb") as file:
            return bool(manifest["archive_sha256"] == wanted and manifest["sha256"] == _sha256(file))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _install(name: str, program: Program, mirror: Release, targets: Mapping[str, Path]) -> None:
    arch = release.architecture()
    folder = f"{name}-v{program.version}-linux-{arch}"
    archive = f"{folder}.{'zip' if name == 'rclone' else 'tar.gz'}"
    url = f"{program.place}/{archive}"
    if not url.startswith(f"{mirror.mirror}/"):
        # The way there is the same; what the mirror wants to know is not for others.
        mirror = replace(mirror, headers={key: each for key, each in mirror.headers.items() if key.lower() == _PROXY})
    wanted, source = program.sha256.get(arch), "the specification"
    if wanted is None:
        source = f"{program.place}/SHA256SUMS"
        phase(f"fetch {source}")
        with open_url(source, mirror, time.time) as answer:
            wanted = release.listed(answer.read(_MOST_SUMS).decode(errors="replace"), archive, source)
    phase(f"fetch {url}")
    fetched = paths.BACKUP_PROGRAMS / f".{archive}"
    try:
        with open_url(url, mirror, time.time) as answer, fetched.open("wb") as file:
            stream = release.Hashed(answer, url, gently=False)
            while chunk := stream.read():
                file.write(chunk)
        release.check_sum(stream.digest.hexdigest(), wanted, url, source)
        for each, target in targets.items():
            fresh = files.unfinished(target)
            _unpack(fetched, f"{'age' if name == 'age' else folder}/{each}", fresh)
            with fresh.open("rb") as file:
                manifest = {"url": url, "archive_sha256": wanted, "sha256": _sha256(file)}
            fresh.rename(target)
            files.write(target.with_name(f"{target.name}.json"), json.dumps(manifest, indent=2) + "\n")
    except (KeyError, tarfile.TarError, zipfile.BadZipFile):
        raise NodeError(
            f"{url} has the right checksum but is not an archive with {' and '.join(targets)}",
            "Use the archive that the release publishes.",
        ) from None
    finally:
        files.remove(fetched)
        for target in targets.values():
            files.remove(files.unfinished(target))
    say(f"{name} {program.version} unpacked")


def _unpack(archive: Path, member: str, target: Path) -> None:
    """Writes the one file `member` of the archive to `target`, whatever else the archive has."""
    files.remove(target)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped, zipped.open(member) as content:
            _write(content, target)
        return
    with tarfile.open(archive) as tar:
        found = tar.extractfile(member)
        if found is None:
            raise KeyError(member)
        _write(found, target)


def _write(content: IO[bytes], target: Path) -> None:
    with target.open("xb") as file:
        while (chunk := content.read(_CHUNK)) and file.tell() < _MOST:
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        os.fsync(file.fileno())


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
