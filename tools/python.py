"""The virtual environment .venv with exactly the versions of requirements.txt and requirements-dev.txt."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

from tools.base import REPOSITORY, ToolError, lock, say
from tools.packages import can_install, install

REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
INSTALL_LIMIT = 1200.0  # seconds


def stamp_of(repository: Path) -> str:
    """Return what .venv depends on: this Python's version and the content of the requirement files."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for name in REQUIREMENTS:
        digest.update((repository / name).read_bytes())
    return digest.hexdigest()


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False, cwd=REPOSITORY
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{what} took more than {INSTALL_LIMIT:.0f} s. Run this again; completed downloads are kept."
        ) from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ToolError(f"{what} failed:\n{last}")


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
    folder = REPOSITORY / ".venv"
    python, stamp = folder / "bin" / "python", folder / ".made-from"
    wanted = stamp_of(REPOSITORY)
    # If a clone is moved or Python is upgraded, the link to Python is broken.
    if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    with lock(f"python-{hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:12]}"):
        started = time.monotonic()
        say(".venv: installing requirements.txt and requirements-dev.txt ...")
        stamp.unlink(missing_ok=True)
        if not python.exists() or not (folder / "bin" / "pip").exists():
            _need_venv_module()
            _run([sys.executable, "-m", "venv", "--clear", str(folder)], "python3 -m venv")
        files = [word for name in REQUIREMENTS for word in ("-r", name)]
        # The cloud SDKs have thousands of modules. Without --no-compile all would be compiled, which takes as long as
        # the rest; Python compiles those that are imported.
        options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--require-hashes"]
        _run([str(python), "-m", "pip", "install", *options, *files], "pip install")
        stamp.write_text(wanted)
        say(f".venv: ready, {time.monotonic() - started:.0f} s")
    return python
