"""Packs etcd-node for its way to a machine. This module runs only on the operator's computer.

The result is the same everywhere: an uncompressed zip with fixed dates and sorted names, compressed by bzip2, whose
output does not depend on a library's version. So no operator sees a change where there is none.
"""

import base64
import bz2
import contextlib
import functools
import hashlib
import io
import os
import tempfile
import time
import zipfile
from pathlib import Path

from .node.install import FIND_PYTHON

FIND = FIND_PYTHON.replace("NAME", "$0")
"""Script for `sh -c`, with the machine's name as `$0`."""

SOURCES = Path(__file__).resolve().parent / "node"
"""The folder of etcd-node; its subfolders are included."""

_KEPT_SECONDS = 86_400
# Imports leave nothing for the garbage collector, which would look 200 times.
_MAIN = "import gc\n\ngc.set_threshold(100_000)\nfrom etcd_node.cli import run\n\nrun()\n"

RECEIVER = """\
import base64, bz2, hashlib, io, sys, zipfile
digest, member = sys.argv[1:3]
home, wrapper = "/usr/local/lib/etcd-node", "/usr/local/sbin/etcd-node"
def whole(text):
    return hashlib.sha256(text.encode()).hexdigest() == digest
program = sys.stdin.readline().strip()
if not whole(program):
    try:
        program = open(f"{home}/{digest[:12]}/program").read()
    except (OSError, ValueError):
        pass
if not whole(program):
    sys.exit("%s: etcd-node has not arrived whole, and this machine has no copy of it; nothing was changed. "
             "Upload it again: pulumi up --replace '**-%s-program'. If a pulumi destroy has removed it here and was "
             "not completed, complete that first, unless a majority of the members still runs." % (member, member))
archive = zipfile.ZipFile(io.BytesIO(bz2.decompress(base64.b64decode(program))))
code = {}
exec(archive.read("etcd_node/install.py"), code)
code["run"](archive, program, home, wrapper, digest[:12], member=member, words=sys.argv[3:])
"""
"""Python program for `python3 -I -c` that installs the result of `program` and runs it.

The state has it twice per member, so it leaves to `install.py` what can wait.
Its arguments are `sha256`, the member's name, and etcd-node's own. The first line of stdin is etcd-node. If that line
is not whole, an installed copy of the same version is used. The rest is etcd-node's stdin.
"""


@functools.cache
def _archive() -> bytes:
    contents = {"__main__.py": _MAIN.encode()}
    for path in SOURCES.rglob("*.py"):
        # The same for all line endings of a checkout.
        contents[f"etcd_node/{path.relative_to(SOURCES).as_posix()}"] = path.read_bytes().replace(b"\r\n", b"\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


def packed(data: bytes) -> str:
    """base64 of bzip2. Certificates and keys as JSON become a fifth shorter."""
    return base64.b64encode(bz2.compress(data)).decode()


@functools.cache
def program() -> str:
    """etcd-node as one line of text for `RECEIVER`: `packed` from a zip."""
    return packed(_archive())


@functools.cache
def file() -> Path:
    """A file with that line, without line end, in Pulumi's home: one per version of etcd-node, used by all runs.

    Those of other versions are deleted a day after their last run.
    """
    folder = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi") / "external-etcd"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"etcd-node-{sha256()}"
    # Never written in place: another run may be reading it.
    written, fresh = tempfile.mkstemp(dir=folder)
    with os.fdopen(written, "w") as stream:
        stream.write(program())
    Path(fresh).replace(path)
    for other in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if other.stat().st_mtime < time.time() - _KEPT_SECONDS:
                other.unlink()
    return path


@functools.cache
def sha256() -> str:
    """SHA-256 of that line, hexadecimal."""
    return hashlib.sha256(program().encode()).hexdigest()


def digest() -> str:
    """First 12 digits of `sha256`; also the name of etcd-node's directory on a machine."""
    return sha256()[:12]
