"""A scratch etcd: a snapshot is restored and served, and everything of it goes.

It listens on two sockets below /run, which only root reaches, and on no port. It has no certificate, and it is the only
member of a cluster of its own, so it connects to nobody. Its data are beside the snapshots, with limits for memory,
and it syncs nothing to the disk: they are thrown away.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import snapshot
from ..service import release, systemd
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import ENVIRONMENT, run
from ..shared.say import phase, until

_NAME = "drill"
_CLIENTS, _PEERS = "clients:1", "peers:1"
"""Names of the sockets. Etcd wants a port in an address of a peer, and its directory is the one in which it runs."""
_URL = "http://127.0.0.1:2380"
"""Its address in its own list of members; nothing listens there."""
_LESS_MEMORY = {"GOGC": "25", "GOMAXPROCS": "1"}
_ALL_KEYS = "AA=="
_MEMORY = 512 << 20
SPARE = 384 << 20
"""Bytes of the disk beside the snapshot and its database: a third of them are two files that etcd reserves for its log.
"""


@dataclass(frozen=True)
class Served:
    """What the restored etcd says."""

    revision: int
    keys: int | None
    """None: etcd's own authentication is on, and this is nobody."""
    history: int
    """Its own hash over all that it has (HashKV)."""


def directory(data_directory: str) -> Path:
    """Where the snapshot and the restored data are meanwhile."""
    return snapshot.directory(data_directory) / "drill"


def remove(data_directory: str) -> None:
    """Removes them, also those of a drill that was killed."""
    files.remove_tree(directory(data_directory))


def refuse_room(data_directory: str, size: int) -> None:
    """Refuses a drill for which this machine has too little disk or memory, and limits its memory.

    Args:
        size: of the snapshot, in bytes.

    Raises:
        NodeError: it has.
    """
    place = snapshot.directory(data_directory)
    files.directory(place, 0o700)
    free, needed = shutil.disk_usage(place).free, 2 * size + SPARE
    if free < needed:
        raise NodeError(
            f"the file system of {place} has {free >> 20} MiB free; a drill needs {needed >> 20} MiB for a while",
            "Make room there.",
        )
    soft, hard = size + _MEMORY, 2 * size + _MEMORY
    available = _memory()
    if available < soft:
        raise NodeError(
            f"{available >> 20} MiB of memory are available; a drill needs {soft >> 20} MiB for a while",
            "Use a larger machine, or turn the drill off (`backup.drill: never`).",
        )
    run(["systemctl", "set-property", "--runtime", paths.DRILL_UNIT, f"MemoryHigh={soft}", f"MemoryMax={hard}"], 20)


def _memory() -> int:
    rows = dict(line.partition(":")[::2] for line in Path("/proc/meminfo").read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) << 10


def serve(data_directory: str, version: str, revision: int, seconds: float) -> tuple[Served, Path]:
    """Restores `snapshot.db` there, lets etcd serve it, and ends it.

    Args:
        version: of etcd.
        revision: of the snapshot.
        seconds: limit for each of the two.

    Returns:
        What etcd has said, and its database.

    Raises:
        NodeError: it cannot be restored, or etcd does not serve it.
    """
    place = directory(data_directory)
    programs, data = release.directory(version), place / "data"
    phase("restore the snapshot into a scratch etcd")
    own = [f"--initial-cluster={_NAME}={_URL}", f"--initial-advertise-peer-urls={_URL}", f"--name={_NAME}"]
    words = [str(programs / "etcdutl"), "snapshot", "restore", str(place / "snapshot.db"), f"--data-dir={data}"]
    run([*words, *own, f"--initial-cluster-token=drill-{secrets.token_hex(8)}"], seconds, env=_LESS_MEMORY)
    phase("ask the scratch etcd")
    etcd = [
        str(programs / "etcd"),
        f"--data-dir={data}",
        *own,
        f"--advertise-client-urls={_URL}",
        f"--listen-client-urls=unix://{_CLIENTS}",
        f"--listen-peer-urls=unix://{_PEERS}",
        "--unsafe-no-fsync=true",
        "--log-level=warn",
    ]
    log = place / "log"
    with _running(etcd, log) as process:
        _wait(process, log, seconds)
        return _ask(revision, seconds), data / "member" / "snap" / "db"


@contextlib.contextmanager
def _running(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**ENVIRONMENT, **_LESS_MEMORY}
    with (
        log.open("wb") as said,
        subprocess.Popen(
            words, cwd=paths.DRILL_RUN, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _wait(process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Waits until it reads through its quorum, which is itself."""
    said = ""
    for _ in until(seconds, every=0.2):
        if process.poll() is not None:
            told = systemd.telling(log.read_text(errors="replace").splitlines(), 3)
            raise NodeError(
                f"the restored etcd ended with {process.returncode}: {'; '.join(told) or 'it said nothing'}",
                "Run it again.",
            )
        try:
            code, said = _request(_CLIENTS, "GET", "/readyz")
        except OSError as error:
            code, said = 0, str(error)
        if code == http.client.OK:
            return
    raise NodeError(f"the restored etcd did not serve within {seconds:.0f} s: {said.strip()[:300]}", "Run it again.")


def _ask(revision: int, seconds: float) -> Served:
    # Without a certificate, etcd's own authentication lets nobody read keys. A peer is asked nothing.
    code, said = _request(_PEERS, "GET", "/members/hashkv", {"revision": revision}, seconds)
    history = _json(code, said)
    content = {"key": _ALL_KEYS, "range_end": _ALL_KEYS, "count_only": True, "revision": str(revision)}
    code, said = _request(_CLIENTS, "POST", "/v3/kv/range", content, seconds)
    keys = None if "user name is empty" in said else int(_json(code, said).get("count", 0))
    return Served(int(history["header"]["revision"]), keys, int(history["hash"]))


def _json(code: int, said: str) -> dict[str, Any]:
    try:
        if code == http.client.OK:
            return dict(json.loads(said))
    except ValueError:
        pass
    raise NodeError(f"the restored etcd does not answer a question: {code} {said.strip()[:300]}", "Run it again.")


class _Local(http.client.HTTPConnection):
    """HTTP over a socket of this machine."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = str(paths.DRILL_RUN / name)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _request(
    name: str, method: str, page: str, content: Mapping[str, Any] | None = None, seconds: float = 10.0
) -> tuple[int, str]:
    connection = _Local(name, seconds)
    try:
        connection.request(method, page, body=None if content is None else json.dumps(content))
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        return 0, str(error)
    finally:
        connection.close()
