"""What is built: a commit or the working tree, its version, and its files in a folder of their own."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tomllib

from tools.base import ToolError, run

GIT_LIMIT = 60.0  # seconds
PROJECT = "pyproject.toml"
_VERSION_LINE = re.compile(r'(?m)^version = "[^"]+"$')


@dataclass(frozen=True)
class Source:
    """What is built.

    Attributes:
        version: such as `0.1.0`, or `0.1.0-dev0+g513b4eb` if it is not a release: valid for Python and for Pulumi.
        commit: 40 hex digits.
        time: of the commit, in seconds since 1970; every file in the archives gets it.
    """

    version: str
    commit: str
    time: int
    _copy: Callable[[Path], None]

    @property
    def name(self) -> str:
        """The version in the names of files: `0.1.0`, or `0.1.0-dev0.g513b4eb`."""
        return self.version.replace("+", ".")

    def copy_to(self, folder: Path) -> None:
        """Copy the files into the folder, which must not exist. pyproject.toml gets the version."""
        folder.mkdir(parents=True)
        self._copy(folder)
        project = folder / PROJECT
        project.write_text(_VERSION_LINE.sub(f'version = "{self.version}"', project.read_text(), count=1))


def git(repository: Path, *words: str) -> str:
    """The output of a git command, without white space at its end.

    Raises:
        ToolError: it failed, with git's message.
    """
    return run(["git", "-C", str(repository), *words], GIT_LIMIT).rstrip()


def version_in(project: str) -> str:
    """The version in the text of pyproject.toml, the only place that states it."""
    return str(tomllib.loads(project)["project"]["version"])


def of_tag(repository: Path, tag: str) -> Source:
    """The commit of a tag.

    Raises:
        ToolError: there is no such tag.
    """
    commit = git(repository, "rev-parse", f"refs/tags/{tag}^{{commit}}")
    version = version_in(git(repository, "show", f"{commit}:{PROJECT}"))
    return Source(version, commit, _time(repository, commit), partial(unpack, repository, commit))


def _time(repository: Path, commit: str) -> int:
    return int(git(repository, "show", "--no-patch", "--no-show-signature", "--format=%ct", commit))


def unpack(repository: Path, revision: str, folder: Path) -> None:
    """Copy the files of a commit or tag into the folder.

    Raises:
        ToolError: this clone does not have it.
    """
    # A clone may be set up for other ends of lines and other modes.
    plain = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "tar.umask=0022")
    command = ["git", "-C", str(repository), *plain, "archive", "--format=tar", revision]
    packed = subprocess.run(command, capture_output=True, timeout=GIT_LIMIT, check=False)
    if packed.returncode != 0:
        raise ToolError(
            f"This clone does not have {revision} ({packed.stderr.decode().strip()}). "
            "Run: git fetch --tags, with --unshallow in a shallow clone"
        )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        tar.extractall(folder, filter="data")


def of_working_tree(repository: Path) -> Source:
    """The files as they are, without those that git ignores. The version says that it is not a release."""
    commit = git(repository, "rev-parse", "HEAD")
    changed = ".changed" if git(repository, "status", "--porcelain") else ""
    names = git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard").strip("\0").split("\0")

    def copy(folder: Path) -> None:
        for name in names:
            if (repository / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(repository / name, folder / name)

    version = version_in((repository / PROJECT).read_text())
    return Source(f"{version}-dev0+g{commit[:7]}{changed}", commit, _time(repository, commit), copy)
