"""etcd release archives, packed like the official ones, for machines to install."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tarfile
from pathlib import Path

from tools.base import ToolError, architecture, cache, first_way, lock, put_in_place, scratch
from tools.download import checksum_in, fetch, read_text, sha256
from tools.gobuild import build, expect_version, module_folder

RELEASES = "https://github.com/etcd-io/etcd/releases/download"
BINARIES = {"etcd": "server", "etcdctl": "etcdctl", "etcdutl": "etcdutl"}  # program: Go module below go.etcd.io/etcd
SUMS = "SHA256SUMS"


def name_of(version: str, arch: str) -> str:
    """Return the name of a release's archive without its extension, which is also its top folder."""
    return f"etcd-v{version}-linux-{arch}"


def archive_of(version: str) -> Path:
    """Return the path of the archive of `version` for this machine; it need not exist yet."""
    return cache() / "etcd" / f"v{version}" / f"{name_of(version, architecture())}.tar.gz"


def pack(files: dict[str, bytes], top: str, target: Path) -> None:
    """Write `files` (name: content) below folder `top` to the .tar.gz `target`, reproducibly.

    Names without a dot are programs, and become executable.
    """
    with (
        target.open("wb") as raw,
        # Level 1: the archive only travels over a local bridge.
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        folder = tarfile.TarInfo(top)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(files[name]), 0o644 if "." in name else 0o755
            tar.addfile(entry, io.BytesIO(files[name]))


def _official(version: str, folder: Path) -> None:
    name = f"{name_of(version, architecture())}.tar.gz"
    source = f"{RELEASES}/v{version}/{SUMS}"
    sums = read_text(source)
    fetch(f"{RELEASES}/v{version}/{name}", folder / name, checksum_in(sums, name, source))
    (folder / SUMS).write_text(sums)


def _built(version: str, folder: Path) -> None:
    module_folder(f"etcd-{version}")
    top = name_of(version, architecture())
    files = {"README.md": f"# etcd {version}\n\nBuilt from the Go modules go.etcd.io/etcd at v{version}.\n".encode()}
    with scratch() as place:
        for program, module in BINARIES.items():
            build(f"etcd {version}: {program}", f"etcd-{version}", f"go.etcd.io/etcd/{module}/v3", place / program)
            expect_version([str(place / program), "--version" if program == "etcd" else "version"], f": {version}\n")
            files[program] = (place / program).read_bytes()
    pack(files, top, folder / f"{top}.tar.gz")
    (folder / SUMS).write_text(f"{sha256(folder / f'{top}.tar.gz')}  {top}.tar.gz\n")


def _whole(archive: Path) -> bool:
    """Whether the archive is cached and matches its checksum file; otherwise it is created again."""
    try:
        return checksum_in((archive.parent / SUMS).read_text(), archive.name, SUMS) == sha256(archive)
    except (OSError, ToolError):
        return False


def ensure_etcd(version: str) -> Path:
    """Return the folder with the archive of etcd `version` ("3.6.16") for this machine and SHA256SUMS.

    Raises:
        ToolError: not a version, or no way to get it worked.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[a-z]+\.\d+)?", version):
        raise ToolError(f"{version!r} is not an etcd version. Write it like 3.6.16.")
    archive = archive_of(version)
    if _whole(archive):
        return archive.parent
    with lock("build"), scratch() as folder:
        if _whole(archive):
            return archive.parent

        def official() -> None:
            _official(version, folder)

        def built() -> None:
            _built(version, folder)

        first_way(f"etcd {version}", [("official release", official), ("built from Go modules", built)])
        ready = folder / "ready"
        ready.mkdir()
        for path in [folder / archive.name, folder / SUMS]:
            path.rename(ready / path.name)
        put_in_place(ready, archive.parent)
    return archive.parent


def etcd_binary(version: str, program: str) -> Path:
    """Return `program` (etcd, etcdctl or etcdutl) of `version`, unpacked in the cache for use on this computer.

    Raises:
        ToolError: no such program, or the release is not available.
    """
    if program not in BINARIES:
        raise ToolError(f"{program!r} is not a program of etcd. There are: {', '.join(BINARIES)}.")
    archive = ensure_etcd(version) / archive_of(version).name
    folder = cache() / "unpacked" / archive.name.removesuffix(".tar.gz")
    if not (folder / program).is_file():
        with lock("build"), scratch() as place:
            with tarfile.open(archive) as tar:
                for name in BINARIES:
                    content = tar.extractfile(f"{folder.name}/{name}")
                    if content is None:
                        raise ToolError(f"{archive} has no {name}. Remove the file and run this again.")
                    (place / "ready").mkdir(exist_ok=True)
                    with (place / "ready" / name).open("wb") as stream:
                        shutil.copyfileobj(content, stream)
                    (place / "ready" / name).chmod(0o755)
            put_in_place(place / "ready", folder)
    return folder / program
