"""Virtual environments with exactly the pinned versions: .venv, and one in the cache for the site of the documents."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.base import REPOSITORY, ToolError, cache, lock, run, say
from tools.packages import can_install, install

REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
DOCS = ("requirements-docs.txt",)
INSTALL_LIMIT = 1200.0  # seconds


def stamp_of(repository: Path, requirements: Sequence[str] = REQUIREMENTS) -> str:
    """Return what an environment depends on: this Python's version and the content of the requirement files."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for name in requirements:
        digest.update((repository / name).read_bytes())
    return digest.hexdigest()


def _need_venv_module() -> None:
    # Debian splits the standard library: without python3-venv, `python3 -m venv` creates an incomplete environment.
    if importlib.util.find_spec("ensurepip") is not None:
        return
    if not can_install():
        raise ToolError(
            f"{sys.executable} cannot create virtual environments. Install Debian's python3-venv: "
            "sudo apt-get install python3-venv"
        )
    install(["python3-venv"])


def ensure_python() -> Path:
    """Return .venv/bin/python with all pinned requirements installed; quick if nothing changed.

    Raises:
        ToolError: the environment cannot be created, or pip failed.
    """
    return _ensure(REPOSITORY / ".venv", REQUIREMENTS)


def ensure_docs() -> Path:
    """Return the Python that has MkDocs.

    Not .venv, because Pulumi lists its packages at every run. The environment is in the cache, for all clones that
    have the same requirements.

    Raises:
        ToolError: as for `ensure_python`.
    """
    return _ensure(cache() / "docs" / stamp_of(REPOSITORY, DOCS)[:12], DOCS)


def _ensure(folder: Path, requirements: Sequence[str]) -> Path:
    python, stamp = folder / "bin" / "python", folder / ".made-from"
    wanted = stamp_of(REPOSITORY, requirements)
    # If a clone is moved or Python is upgraded, the link to Python is broken.
    if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    with lock(f"python-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"):
        if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
            return python  # another run has installed it in the meantime
        started = time.monotonic()
        say(f"{folder}: installing {' and '.join(requirements)} ...")
        stamp.unlink(missing_ok=True)
        if not python.exists() or not (folder / "bin" / "pip").exists():
            _need_venv_module()
            run([sys.executable, "-m", "venv", "--clear", str(folder)], INSTALL_LIMIT, "python3 -m venv")
        files = [word for name in requirements for word in ("-r", name)]
        # The cloud SDKs have thousands of modules. Without --no-compile all would be compiled, which takes as long as
        # the rest; Python compiles those that are imported.
        options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--require-hashes"]
        run([str(python), "-m", "pip", "install", *options, *files], INSTALL_LIMIT, "pip install", REPOSITORY)
        stamp.write_text(wanted)
        say(f"{folder}: ready, {time.monotonic() - started:.0f} s")
    return python
