"""etcd-node on its way to a machine. This module runs on the operator's side only.

The text is the same on every computer: an uncompressed zip with fixed dates and sorted names, compressed by bzip2,
whose output depends on no library's version. So two operators never see a change that is none.
"""

import atexit
import base64
import bz2
import functools
import hashlib
import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from .node.install import FIND_PYTHON

FIND = FIND_PYTHON.replace("NAME", "$0")
"""Script for `sh -c`; its `$0` is the machine's name."""

SOURCES = Path(__file__).resolve().parent / "node"
"""The folder whose modules, in all its subfolders, are etcd-node."""

_MAIN = "import sys\n\nfrom etcd_node.cli import main\n\nsys.exit(main())\n"

RECEIVER = """\
import base64, bz2, hashlib, io, os, pathlib, sys, zipfile
digest, member = sys.argv[1:3]
home, wrapper = "/usr/local/lib/etcd-node", "/usr/local/sbin/etcd-node"
if os.geteuid() != 0:
    sys.exit("etcd-node: installing needs root. Give the ssh user password-less sudo, or log in as root.")
def whole(text):
    return hashlib.sha256(text.encode()).hexdigest() == digest
program = sys.stdin.readline().strip()
if not whole(program):
    try:
        with open(os.path.join(home, digest[:12], "program")) as file:
            program = file.read()
    except (OSError, ValueError):
        pass
if not whole(program):
    sys.exit("%s: etcd-node has not arrived whole, and there is no copy of it here; nothing was changed. "
             "Upload it again: pulumi up --replace '**-%s-program'" % (member, member))
archive = zipfile.ZipFile(io.BytesIO(bz2.decompress(base64.b64decode(program))))
code = {}
exec(archive.read("etcd_node/install.py"), code)
code["install"](archive, program, pathlib.Path(home), pathlib.Path(wrapper), digest[:12])
# What Python has read ahead is lost for who comes after it.
outlet, inlet = os.pipe()
os.write(inlet, sys.stdin.read().encode())
os.close(inlet)
os.dup2(outlet, 0)
os.execv(wrapper, [wrapper] + sys.argv[3:])
"""
"""Python program for `python3 -I -c`, with `sha256`, the member's name and etcd-node's own arguments: installs what
`program` returns and runs it.

The first line of stdin is the program. If that is not whole, the copy that was installed before is as good. What
follows, less than a pipe holds (64 KiB), is the program's own stdin.
"""


@functools.cache
def _archive() -> bytes:
    contents = {"__main__.py": _MAIN.encode()}
    for path in SOURCES.rglob("*.py"):
        # Whatever line ends a checkout has.
        contents[f"etcd_node/{path.relative_to(SOURCES).as_posix()}"] = path.read_bytes().replace(b"\r\n", b"\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


@functools.cache
def program() -> str:
    """etcd-node as one line of text for `RECEIVER`: base64 of bzip2 of a zip."""
    return base64.b64encode(bz2.compress(_archive())).decode()


@functools.cache
def file() -> Path:
    """A file with that line, and no line end. It is there until this process ends."""
    folder = tempfile.mkdtemp(prefix="etcd-node-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "program")
    path.write_text(program())
    return path


@functools.cache
def sha256() -> str:
    """SHA-256 of that line, hexadecimal."""
    return hashlib.sha256(program().encode()).hexdigest()


def digest() -> str:
    """12 hex digits that differ whenever etcd-node does; also the name of its directory on a machine."""
    return sha256()[:12]
