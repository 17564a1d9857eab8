"""What a snapshot, a defragmentation and a restore cost at 200 MiB and 2 GiB, next to the same by hand."""

import base64
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab, Machine
from lab.probe import Pace, Probe, Report, client_tls
from tests.support.etcd import OPTIONS, lead, write_client_files
from tests.support.machines import Machines, temporary_lab
from tests.support.s3_server import BUCKET, KEY, SECRET, S3Server
from tests.support.stacks import REPO, Stacks
from tests.support.versions import DEFAULT_ETCD
from tools.backups import age_program, ensure_archive
from tools.etcd import ensure_etcd, etcd_binary

from .bare import archive, bare_script

MEBIBYTES = (200, 2048)
REST_SECONDS = 10.0
PATIENCE_SECONDS = 0.5
_PREFIX = "bench"
_PROGRAMS = "/opt/etcd/backup"
_TIMEOUT = 1200
_WRITERS = 2
_VALUES = 64
"""Per MiB."""
_GENEROUS = "--dial-timeout=5s --command-timeout=600s"
# What people have in their cron jobs: no election, no check before or after.
_BY_HAND = (
    "set -e; cd /var/tmp; /usr/local/bin/etcdctl {etcdctl} snapshot save by-hand.db >/dev/null 2>&1; "
    "gzip -1 <by-hand.db | {programs}/age-v*[0-9] --encrypt --recipient {recipient} >by-hand.age; "
    "{programs}/rclone-v*[0-9] --config=/var/lib/etcd-node/rclone.conf --s3-no-check-bucket "
    "copyto by-hand.age store:{bucket}/by-hand/snapshot.db.gz.age; rm by-hand.db by-hand.age"
)
_AUTHORITY = (
    "openssl ecparam -name prime256v1 -genkey -noout -out ca.key",
    "openssl req -x509 -new -key ca.key -subj /CN=etcd-ca -days 3650 -out ca.crt",
)


@dataclass(frozen=True)
class Filled:
    """A cluster with data, whose first member leads."""

    found: list[Machine]
    directory: Path
    """With `ca.crt`, `client.crt` and `client.key`."""

    def etcdctl(self, *arguments: str, given: bytes | None = None) -> None:
        """Run etcdctl on this computer, with the last member. Raises CalledProcessError."""
        place = self.directory
        command = [str(etcd_binary(DEFAULT_ETCD, "etcdctl")), f"--endpoints=https://{self.found[-1].address}:2379"]
        files = [f"--cacert={place / 'ca.crt'}", f"--cert={place / 'client.crt'}", f"--key={place / 'client.key'}"]
        words = [*command, *files, *_GENEROUS.split(), *arguments]
        subprocess.run(words, input=given, capture_output=True, timeout=_TIMEOUT, check=True)

    def probed(self, action: Callable[[], object]) -> tuple[float, Report]:
        """Seconds of an action, and what a client of all members saw meanwhile."""
        tls = client_tls(*(self.directory / name for name in ("ca.crt", "client.crt", "client.key")))
        urls = [f"https://{machine.address}:2379" for machine in self.found]
        probe = Probe(urls, tls, pace=Pace(request=PATIENCE_SECONDS))
        probe.start()
        try:
            began = time.monotonic()
            action()
            seconds = time.monotonic() - began
        finally:
            report = probe.finish()
        return seconds, report


def main() -> None:
    """Measure, print, write `docs/benchmark-snapshots.json`."""
    ensure_etcd(DEFAULT_ETCD)
    for program in ("age", "rclone"):
        ensure_archive(program)
    sizes = []
    for mebibytes in MEBIBYTES:
        # On a disk: the larger one does not fit into memory several times.
        with temporary_lab("bench", memory=False) as lab, tempfile.TemporaryDirectory() as scratch:
            sizes.append(_measured(mebibytes, lab, Path(scratch)))
        print(sizes[-1], file=sys.stderr, flush=True)
    result = {"rest_seconds": REST_SECONDS, "patience_seconds": PATIENCE_SECONDS, "sizes": sizes}
    print(json.dumps(result, indent=2))
    (REPO / "docs" / "benchmark-snapshots.json").write_text(json.dumps(result, indent=2) + "\n")


def _measured(mebibytes: int, lab: Lab, place: Path) -> dict[str, Any]:
    machines, stacks = Machines(lab), Stacks(place)
    found = machines.fresh()
    store = S3Server(place, lab.address)
    store.start()
    try:
        recipient = _new_key(place)
        s3 = {"endpoint": store.endpoint, "bucket": BUCKET, "prefix": _PREFIX, "region": "us-east-1"}
        login = {"accessKeyId": KEY, "secretAccessKey": SECRET}
        # Etcd keeps the latest entries in memory; these are large.
        few = {"snapshot-count": "100", "snapshot-catchup-entries": "100"}
        backup = {"schedule": "2099-01-01", "drill": "never", "recipients": [recipient], "s3": {**s3, **login}}
        stack = stacks.new(found, flags=few, quota=f"{4 << 30}", backup=backup)
        stack.up()
        for machine in found:
            machine.run("systemctl stop etcd-snapshot.timer", root=True)
        write_client_files(place, stack.outputs())
        filled = Filled(found, place)
        _fill(filled, mebibytes)
        lead(found, found[0])
        rest = filled.probed(lambda: time.sleep(REST_SECONDS))[1]
        rows = {"at rest": _figures(REST_SECONDS, rest)}
        for name, action in _actions(filled, recipient).items():
            lead(found, found[0])
            rows[name] = _figures(*filled.probed(action))
            print(mebibytes, name, rows[name], file=sys.stderr, flush=True)
        filled.etcdctl("snapshot", "save", str(place / "snapshot.db"))
    finally:
        store.close()
    stack.config["restore"] = {"from": str(place / "snapshot.db"), "confirm": "test"}
    # What is written meanwhile is lost, as announced: only the gap counts.
    rows["restore"] = _figures(*filled.probed(stack.up))
    found = machines.fresh()
    with bare_script(lab.dir, found) as bare:
        for command in _AUTHORITY:
            subprocess.run(command.split(), cwd=bare.directory, capture_output=True, timeout=60, check=True)
        bare("install", archive(DEFAULT_ETCD), found)
        seconds = bare("restore", str(place / "snapshot.db"), found)
        rows["restore by hand"] = {"seconds": seconds, "longest_gap": seconds}
    return {"mebibytes": mebibytes, "rows": rows}


def _actions(filled: Filled, recipient: str) -> dict[str, Callable[[], object]]:
    found = filled.found
    etcdctl_words = f"--endpoints=https://{found[1].address}:2379 {OPTIONS} {_GENEROUS}"
    by_hand = _BY_HAND.format(etcdctl=etcdctl_words, recipient=recipient, bucket=BUCKET, programs=_PROGRAMS)
    return {
        "snapshot": lambda: found[1].run("etcd-node snapshot", root=True, timeout=_TIMEOUT),
        "snapshot by hand": lambda: found[1].run(by_hand, root=True, timeout=_TIMEOUT),
        "defragmentation": lambda: _each([*found[1:], found[0]], "etcd-node defragment --now"),
        "defragmentation by hand": lambda: filled.etcdctl("defrag", "--cluster"),
    }


def _each(machines: Sequence[Machine], command: str) -> None:
    for machine in machines:
        machine.run(command, root=True, timeout=_TIMEOUT)


def _fill(filled: Filled, mebibytes: int) -> None:
    """Random: nothing on the way can compress it. Many values, as Kubernetes has them: with few large ones, a
    defragmentation would hold all of them in memory."""
    tls = client_tls(*(filled.directory / name for name in ("ca.crt", "client.crt", "client.key")))

    def put(numbers: Sequence[int]) -> None:
        connection = http.client.HTTPSConnection(filled.found[0].address, 2379, context=tls, timeout=60)
        with contextlib.closing(connection), Path("/dev/urandom").open("rb") as random:
            for number in numbers:
                keys = [f"/fill/{number}/{each}".encode() for each in range(_VALUES)]
                puts = [{"key": _b64(key), "value": _b64(random.read((1 << 20) // _VALUES))} for key in keys]
                connection.request("POST", "/v3/kv/txn", json.dumps({"success": [{"requestPut": put} for put in puts]}))
                answer = connection.getresponse()
                if b"succeeded" not in answer.read():
                    raise RuntimeError(f"etcd refused a transaction: status {answer.status}")

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(put, [range(first, mebibytes, _WRITERS) for first in range(_WRITERS)]))


def _b64(raw: bytes) -> str:
    """For etcd's gateway."""
    return base64.b64encode(raw).decode()


def _new_key(directory: Path) -> str:
    """A public key of age, whose private key is in the directory."""
    path = directory / "key.txt"
    subprocess.run([age_program("age-keygen"), "-o", path], check=True, capture_output=True)
    said = subprocess.run([age_program("age-keygen"), "-y", path], check=True, capture_output=True, text=True)
    return said.stdout.strip()


def _figures(seconds: float, during: Report) -> dict[str, float]:
    return {"seconds": seconds, "longest_gap": during.longest_gap, "p99": during.p99, "failed": during.failed}
