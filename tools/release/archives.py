"""Wheel, source distribution and plugin archive: byte for byte the same in every build of a commit."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tools.base import ToolError
from tools.release.source import Source

PLUGIN = "PulumiPlugin.yaml"
PLATFORMS = ("linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64")
"""The plugin is the same Python for all, but `pulumi plugin install --server` asks for a file with its own platform."""
BUILD_LIMIT = 300.0  # seconds
# What the plugin runs with, besides its own folder.
_NEEDED = ("components", "requirements.txt", "pyproject.toml", "LICENSE")
_START = '''"""Starts the plugin: Pulumi expects it at the top of its folder."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parent / "plugin" / "__main__.py"), run_name="__main__")
'''


def python_packages(files: Path, source: Source, target: Path) -> None:
    """Write the wheel and the source distribution of the project in `files` to the folder `target`.

    The wheel is built from the unpacked source distribution, which proves that it is complete.

    Raises:
        ToolError: the build failed.
    """
    packed, unpacked = files.parent / "packed", files.parent / "unpacked"
    packed.mkdir()
    _setuptools("build_sdist", files, packed, source)
    (sdist,) = packed.iterdir()
    with tarfile.open(sdist) as tar:
        tar.extractall(unpacked, filter="data")
    pack(unpacked, target / sdist.name, source.time)
    (top,) = unpacked.iterdir()
    _setuptools("build_wheel", top, target, source)


def _setuptools(hook: str, files: Path, target: Path, source: Source) -> None:
    """Call the build backend, as `python -m build` does with the versions of requirements-dev.txt."""
    code = "import sys, setuptools.build_meta as backend; getattr(backend, sys.argv[1])(sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", code, hook, str(target)],
        cwd=files,
        # The files in a wheel get this time. Their mode depends on umask.
        env={**os.environ, "SOURCE_DATE_EPOCH": str(source.time)},
        umask=0o022,
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ToolError(f"setuptools could not {hook.replace('_', ' a ')}:\n{last}")


def plugin(files: Path, source: Source, target: Path) -> None:
    """Write the plugin archives to the folder `target`: one file per platform, all with the same content.

    `pulumi package add` of a git address takes the folder `plugin` of the repository. In an archive, PulumiPlugin.yaml
    must be at the top, so there are the same files in the same places, and a PulumiPlugin.yaml and a `__main__.py`
    above them.
    """
    top = files.parent / "top"
    shutil.copytree(files / "plugin", top / "plugin")
    for name in _NEEDED:
        copy = shutil.copytree if (files / name).is_dir() else shutil.copy
        copy(files / name, top / name)
    (top / "plugin" / PLUGIN).rename(top / PLUGIN)
    (top / "__main__.py").write_text(_START)
    names = [f"pulumi-resource-external-etcd-v{source.name}-{platform}.tar.gz" for platform in PLATFORMS]
    pack(top, target / names[0], source.time)
    for name in names[1:]:
        shutil.copy(target / names[0], target / name)


def pack(folder: Path, target: Path, time: int) -> None:
    """Write what is in the folder to the .tar.gz `target`: sorted, with this time, without owners."""
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=time) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            entry = tar.gettarinfo(path, str(path.relative_to(folder)))
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = time, 0, 0, "", ""
            entry.mode = 0o755 if path.is_dir() or entry.mode & 0o100 else 0o644
            if path.is_file():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
