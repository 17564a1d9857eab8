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

_MAIN = "import sys\n\nfrom etcd_node.cli import main\n\nsys.exit(main())\n"

INSTALLER = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("etcd-node: this machine has Python %d.%d. Install 3.9 or later, then run again." % sys.version_info[:2])
import base64, bz2, hashlib, io, os, shutil, time, zipfile
if os.geteuid() != 0:
    sys.exit("etcd-node: installing needs root. Give the ssh user password-less sudo, or log in as root.")
os.umask(0o022)
program = bz2.decompress(base64.b64decode(sys.stdin.readline()))
home, wrapper = "/usr/local/lib/etcd-node", "/usr/local/sbin/etcd-node"
place = os.path.join(home, hashlib.sha256(program).hexdigest()[:12])
text = "#!/bin/sh\\n# etcd-node of external-etcd; try: etcd-node status\\nexec python3 -I %s \\"$@\\"\\n" % place
before = open(wrapper).read() if os.path.exists(wrapper) else ""
if not os.path.isdir(place):
    fresh = "%s.%d" % (place, os.getpid())
    zipfile.ZipFile(io.BytesIO(program)).extractall(fresh)
    try:
        os.rename(fresh, place)
    except OSError:
        shutil.rmtree(fresh)
if before != text:
    os.makedirs(os.path.dirname(wrapper), exist_ok=True)
    fresh = "%s.%d" % (wrapper, os.getpid())
    with open(fresh, "w") as file:
        file.write(text)
    os.chmod(fresh, 0o755)
    os.rename(fresh, wrapper)
    for name in os.listdir(home):
        old = os.path.join(home, name)
        if old != place and old not in before and os.path.getmtime(old) < time.time() - 600:
            shutil.rmtree(old, ignore_errors=True)
# What Python has read ahead is lost for who comes after it.
reader, writer = os.pipe()
os.write(writer, sys.stdin.read().encode())
os.close(writer)
os.dup2(reader, 0)
os.execv(wrapper, [wrapper] + sys.argv[1:])
"""
"""Python program for `python3 -c`: installs what `program` returns, from stdin, and runs it with its arguments.

The first line of stdin is the program; what follows, less than a pipe holds (64 KiB), is the program's own stdin. It
keeps the program that was in use before, and any that is younger than ten minutes (another run may just be unpacking
it).
"""


@functools.cache
def _archive() -> bytes:
    sources = Path(__file__).resolve().parent.glob("*.py")
    contents = {"__main__.py": _MAIN.encode()}
    for path in sources:
        if path.name != Path(__file__).name:
            # Whatever line ends a checkout has.
            contents[f"etcd_node/{path.name}"] = path.read_bytes().replace(b"\r\n", b"\n")
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
