"""etcd-node on its way to a machine. This module runs on the operator's side only.

The text is the same on every computer: an uncompressed zip with fixed dates and sorted names, compressed by bzip2,
whose output depends on no library's version. So two operators never see a change that is none.
"""

import base64
import bz2
import functools
import hashlib
import io
import zipfile
from pathlib import Path

# Finds a Python that etcd-node can run with, whatever it is called, and runs it with the arguments; `NAME` is the
# machine. A distribution may leave out parts of the standard library.
_FIND = """\
for p in python3 /usr/bin/python3.* /usr/local/bin/python3* /usr/libexec/platform-python; do
  if "$p" -I -c "import sys, bz2, json, ssl, zipfile; sys.exit(sys.version_info < (3, 9))" </dev/null >/dev/null 2>&1
  then exec "$p" -I "$@"; fi
done
echo "NAME: there is no Python 3.9 or later with its whole standard library (python3 here: $(python3 -V 2>&1)). \
Install one, for example by apt-get install python3 or dnf install python3.11, then run again." >&2
exit 1
"""
FIND = _FIND.replace("NAME", "$0")
"""Script for `sh -c`; its `$0` is the machine's name."""

SOURCES = Path(__file__).resolve().parent / "node"
"""The folder whose modules, in all its subfolders, are etcd-node."""

_MAIN = "import sys\n\nfrom etcd_node.cli import main\n\nsys.exit(main())\n"

# Each file that is not as it should be is written anew, and is on the disk before anything is run from it: a power cut
# may have emptied some of them, or the bytecode that Python itself has written beside them.
INSTALLER = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("etcd-node: this machine has Python %d.%d. Install 3.9 or later, then run again." % sys.version_info[:2])
import base64, bz2, glob, hashlib, io, marshal, os, shutil, time, zipfile
if os.geteuid() != 0:
    sys.exit("etcd-node: installing needs root. Give the ssh user password-less sudo, or log in as root.")
os.umask(0o022)
program = bz2.decompress(base64.b64decode(sys.stdin.readline()))
home, wrapper = "/usr/local/lib/etcd-node", "/usr/local/sbin/etcd-node"
place = os.path.join(home, hashlib.sha256(program).hexdigest()[:12])
python, text = sys.executable, "#!/bin/sh\\n# etcd-node of external-etcd; try: etcd-node status\\n"
text += "[ -x %s ] && exec %s -I %s \\"$@\\"\\n" % (python, python, place)
# That one is gone: the system was upgraded.
text += "set -- %s \\"$@\\"\\n" % place + FIND
before = open(wrapper).read() if os.path.exists(wrapper) else ""
changed = set()
def put(path, data, mode):
    try:
        with open(path, "rb") as file:
            if file.read() == data and os.stat(path).st_mode & 0o777 == mode:
                return
    except OSError:
        pass
    above = os.path.dirname(path)
    os.makedirs(above, exist_ok=True)
    fresh = "%s.%d" % (path, os.getpid())
    with open(fresh, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    os.rename(fresh, path)
    changed.update((above, os.path.dirname(above)))
archive = zipfile.ZipFile(io.BytesIO(program))
for name in archive.namelist():
    put(os.path.join(place, name), archive.read(name), 0o644)
for cache in glob.glob(os.path.join(place, "**", "__pycache__", "*.pyc"), recursive=True):
    try:
        with open(cache, "rb") as file:
            marshal.loads(file.read()[16:])
    except Exception:
        os.unlink(cache)
put(wrapper, text.encode(), 0o755)
for path in sorted(changed):
    directory = os.open(path, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
if before != text:
    for name in os.listdir(home):
        old = os.path.join(home, name)
        if old != place and old not in before and os.path.getmtime(old) < time.time() - 600:
            shutil.rmtree(old, ignore_errors=True)
# What Python has read ahead is lost for who comes after it.
outlet, inlet = os.pipe()
os.write(inlet, sys.stdin.read().encode())
os.close(inlet)
os.dup2(outlet, 0)
os.execv(wrapper, [wrapper] + sys.argv[1:])
""".replace("FIND", repr(_FIND.replace("NAME", "etcd-node: $(uname -n)")))
"""Python program for `python3 -I -c`: installs what `program` returns, from stdin, and runs it with its arguments.

The first line of stdin is the program; what follows, less than a pipe holds (64 KiB), is the program's own stdin. It
keeps the program that was in use before, and any that is younger than ten minutes (another run may just be unpacking
it).
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
    """etcd-node as text for the standard input of `INSTALLER`: base64 of bzip2 of a zip."""
    return base64.b64encode(bz2.compress(_archive())).decode()


@functools.cache
def digest() -> str:
    """12 hex digits that differ whenever etcd-node does; also the name of its directory on a machine."""
    return hashlib.sha256(_archive()).hexdigest()[:12]
