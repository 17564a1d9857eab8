"""install: puts this program on the machine's disk, safe against a power cut at any moment.

It runs from the archive, before the program is installed, so it imports nothing from it.
"""

from __future__ import annotations

import marshal
import os
import re
import shutil
import sys
import time
import zipfile
from pathlib import Path

_RELEASE = re.compile(r"[0-9a-f]{12}")

# Finds a Python that etcd-node can run with, whatever it is called, and runs it with the arguments; `NAME` is the
# machine. Distributions can omit parts of the standard library; what is searched or imported here tells cheaply.
FIND_PYTHON = """\
for p in python3 /usr/bin/python3.* /usr/local/bin/python3* /usr/libexec/platform-python; do
  if "$p" -IS -c "\
import sys, _bz2, _ssl
from importlib.machinery import PathFinder
sys.exit(sys.version_info < (3, 9) or None in map(PathFinder.find_spec, 'json zipfile'.split()))
" </dev/null >/dev/null 2>&1; then exec "$p" -I "$@"; fi
done
echo "NAME: there is no Python 3.9 or later with its whole standard library (python3 here: $(python3 -V 2>&1)). \
Install one, for example by apt-get install python3 or dnf install python3.11, then run again." >&2
exit 1
"""
"""Script for `sh`."""


def run(
    archive: zipfile.ZipFile, text: str, home: str, wrapper: str, name: str, *, member: str, words: list[str]
) -> None:
    """Installs the program and runs it, with these arguments and the rest of standard input.

    It writes what is missing or damaged: a power cut may have emptied some files, or their bytecode.

    It keeps the previous program, and any that is younger than ten minutes (another run may be unpacking it). If it
    cannot write, the process ends with a message.

    Args:
        archive: the program.
        text: the archive as it was transferred; a copy is kept for repairs.
        home: directory of all programs.
        wrapper: the script that runs the one in use.
        name: of this program's directory in `home`.
        member: the machine's name in the message.
        words: arguments of the program.
    """
    if os.geteuid() != 0:
        sys.exit(f"{member}: etcd-node needs root. Give the ssh user password-less sudo, or log in as root.")
    try:
        _install(archive, text, Path(home), Path(wrapper), name)
    except OSError as error:
        sys.exit(
            f"{member}: etcd-node cannot be installed: {error.filename or home}: {error.strerror}. Free space there "
            "(df -h) or repair the disk (dmesg), then run again."
        )
    # In this process: Python need not start again, and has begun to read the rest of standard input.
    sys.argv[:] = [f"{home}/{name}", *words]
    sys.path.insert(0, sys.argv[0])
    exec(archive.read("__main__.py"), {"__name__": "__main__"})  # noqa: S102


def _install(archive: zipfile.ZipFile, text: str, home: Path, wrapper: Path, name: str) -> None:
    os.umask(0o022)
    place, python = home / name, sys.executable
    script = "#!/bin/sh\n# etcd-node of external-etcd; try: etcd-node status\n"
    script += f'[ -x {python} ] && exec {python} -I {place} "$@"\n'
    # That Python is gone: the system was upgraded.
    script += f'set -- {place} "$@"\n' + FIND_PYTHON.replace("NAME", "etcd-node: $(uname -n)")
    before = wrapper.read_text() if wrapper.exists() else ""
    contents = {place / each: archive.read(each) for each in archive.namelist()}
    contents[place / "program"] = text.encode()
    changed: set[Path] = set()
    for path, data in contents.items():
        changed |= _put(path, data, 0o644)
    for cache in place.glob("**/__pycache__/*.pyc"):
        if not _whole(cache):
            cache.unlink()
    changed |= _put(wrapper, script.encode(), 0o755)
    for path in sorted(changed):
        directory = os.open(path, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    if before != script:
        for old in home.iterdir():
            # Another name is not ours; an earlier version accepted data here.
            if (
                _RELEASE.fullmatch(old.name)
                and old != place
                and str(old) not in before
                and old.stat().st_mtime < time.time() - 600
            ):
                shutil.rmtree(old, ignore_errors=True)


def _whole(cache: Path) -> bool:
    try:
        marshal.loads(cache.read_bytes()[16:])  # noqa: S302  Python would load it as well
    except Exception:
        return False
    return True


def _put(path: Path, data: bytes, mode: int) -> set[Path]:
    """Writes a file if it differs, synchronised to the disk before it gets its name."""
    try:
        if path.read_bytes() == data and path.stat().st_mode & 0o777 == mode:
            return set()
    except OSError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as out:
            out.write(data)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        fresh.rename(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    return {path.parent, path.parent.parent}
