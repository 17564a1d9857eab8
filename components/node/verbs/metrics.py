"""metrics: what etcd itself does not know, as numbers for Prometheus, through node_exporter's textfile collector."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..backup import proof, turn
from ..cluster import claim, lease
from ..protocol import etcd, exposition, x509
from ..protocol.exposition import Sample
from ..service import client_certificates
from ..shared import files, paths, spec
from ..shared.errors import NodeError
from ..shared.metric_names import METRICS, PREFIX
from ..shared.run import run
from ..shared.spec import Spec

_OWN_KEYS = "external-etcd/"
_AUTHORITIES = ("ca.crt", "peer-ca.crt")
_ALARMS = ("NOSPACE", "CORRUPT")
_UNITS = (paths.BACKUP_UNIT, paths.DRILL_UNIT, paths.MAINTENANCE_UNIT)
_TIMES = 10
"""So many times of a schedule are looked at: with every day but the weekend, the longest time between two is there."""
_DRIFT_SECONDS, _AGAIN_SECONDS = 3600, 300
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def metrics() -> str:
    """Collects the metrics, in Prometheus' text format. What cannot be collected is missing, and reported as such.

    Raises:
        NodeError: this machine holds no member.
    """
    installed = files.read_json(paths.INSTALLED)
    if installed is None:
        raise NodeError("no member of external-etcd is on this machine", "Run `pulumi up` to create one.")
    here = spec.parse(json.dumps(installed))
    samples = [Sample(f"{PREFIX}metrics_timestamp_seconds", int(time.time()))]
    for name, collect in COLLECTORS.items():
        success = 1
        try:
            samples += list(collect(here))
        except (NodeError, OSError, ValueError, KeyError, TypeError):
            success = 0
        samples.append(Sample(f"{PREFIX}collector_success", success, {"collector": name}))
    return exposition.text(samples, METRICS, {"cluster": here.cluster, "member": here.member})


def write(directory: Path) -> None:
    """Writes them to a file in the directory, which everyone can read; atomically. Raises like `metrics`.

    Without `files.write`, which syncs it to the disk, and notes it as a part of what was installed. The directory may
    be one of another user, who must not choose what root overwrites.
    """
    text, path = metrics(), directory / paths.METRICS_FILE
    if not directory.is_dir():
        directory.mkdir(parents=True)
        directory.chmod(0o755)
    fresh = files.unfinished(path)
    with files.create(fresh) as file:
        file.write(text.encode())
        os.fchmod(file.fileno(), 0o644)
    fresh.rename(path)


def _certificates(_: Spec) -> Iterator[Sample]:
    """When they expire: those of the member, the CAs that it trusts, and those of clients."""
    now = datetime.datetime.now(datetime.timezone.utc)
    found: dict[tuple[str, str], float] = {}

    def add(name: str, kind: str, ends: datetime.datetime) -> None:
        found[name, kind] = min(ends.timestamp(), found.get((name, kind), ends.timestamp()))

    for name in spec.CERTIFICATES:
        for der in x509.der_of((files.read_bytes(paths.PKI / name) or b"").decode()):
            add(name, "ca" if name in _AUTHORITIES else "member", x509.expires(der))
    for name, ends in client_certificates.rows(files.read_json(paths.CLIENTS) or {}, now):
        client, comma, _earlier = name.partition(",")
        add(client, "earlier" if comma else "client", ends)
    for (name, kind), at in found.items():
        yield Sample(f"{PREFIX}certificate_expiry_timestamp_seconds", at, {"certificate": name, "kind": kind})


def _member(here: Spec) -> Iterator[Sample]:
    """Its version, and the alarms that it knows of."""
    with contextlib.suppress(FileNotFoundError):
        yield Sample(f"{PREFIX}converged_timestamp_seconds", int(paths.CONVERGED.stat().st_mtime))
    status = etcd.statuses(here, {here.member: here.address}).get(here.member)
    versions = {"wanted": here.release.version, "running": status.version if status is not None else ""}
    yield Sample(f"{PREFIX}version_info", 1, versions)
    if status is None:
        raise NodeError("this member gives no status", "See `etcd-node status`.")
    for kind in _ALARMS:
        raised = sum(error.startswith(f"alarm {kind} ") for error in status.errors)
        yield Sample(f"{PREFIX}alarms", raised, {"kind": kind})


def _cluster(here: Spec) -> Iterator[Sample]:
    """What the cluster remembers: who changes it, the last snapshot and the last proved restore."""
    held = lease.find_all(here, [here.address], _OWN_KEYS)
    if claim.KEY in held:
        yield Sample(f"{PREFIX}claim_held_since_timestamp_seconds", _seconds(claim.holder_in(held[claim.KEY]).since))
    if here.backup is None:
        return
    last = turn.last_in(held.get(turn.LAST))
    yield Sample(f"{PREFIX}snapshot_last_timestamp_seconds", float(last["taken"]) if last is not None else 0)
    if here.backup.drill:
        drill = proof.last_in(held.get(proof.LAST))
        proved: Mapping[str, Any] = drill.get("proved", {})
        yield Sample(f"{PREFIX}drill_last_proved_timestamp_seconds", proved.get("at", 0))
        yield Sample(f"{PREFIX}drill_failed", "failed" in drill)


def _seconds(since: str) -> float:
    """A time of a claim, in seconds since 1970; 0 if it is not one: then somebody else has written the claim."""
    try:
        return datetime.datetime.strptime(since, _TIME).replace(tzinfo=datetime.timezone.utc).timestamp()
    except ValueError:
        return 0


def _schedules(here: Spec) -> Iterator[Sample]:
    """How long it can take until the next snapshot or drill, and how long there could have been drills."""
    if here.backup is not None:
        for name, schedule in (("snapshot", here.backup.schedule), ("drill", here.backup.drill)):
            gaps = _gaps(schedule) if schedule else []
            if gaps:
                yield Sample(f"{PREFIX}{name}_interval_seconds", max(gaps))
        if here.backup.drill:
            since = int(paths.DRILL_TIMER_FILE.stat().st_mtime)
            yield Sample(f"{PREFIX}drill_wanted_since_timestamp_seconds", since)


def _gaps(schedule: str) -> list[float]:
    """The times between the next times of a schedule (OnCalendar= of systemd), in seconds; empty if it has but one."""
    words = ["systemd-analyze", "calendar", f"--iterations={_TIMES}", schedule]
    said = run(words, 20, env={"TZ": "UTC"}).stdout
    times = [
        datetime.datetime.strptime(" ".join(line.split()[-3:-1]), "%Y-%m-%d %H:%M:%S")
        for line in said.splitlines()
        if line.strip().startswith(("Next elapse:", "Iter. #", "Iteration #"))
    ]
    return [(after - before).total_seconds() for before, after in zip(times, times[1:])]


def _units(_: Spec) -> Iterator[Sample]:
    """Whether the last run that a timer has started failed."""
    said = run(["systemctl", "show", *_UNITS, "--property=Id,LoadState,Result"], 20).stdout
    for block in said.split("\n\n"):
        found = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if found.get("LoadState") == "loaded":
            yield Sample(f"{PREFIX}unit_failed", found["Result"] != "success", {"unit": found["Id"]})


def _drift(here: Spec) -> Iterator[Sample]:
    """How many things differ from what was installed.

    The installed programs are hashed for that, so it is compared seldom: more often while something differs.
    """
    found, now = files.read_json(paths.DRIFT), int(time.time())
    age = now - found["at"] if found is not None else -1
    if found is None or not 0 <= age < (_AGAIN_SECONDS if found["differences"] else _DRIFT_SECONDS):
        # Its modules would be loaded every minute.
        from ..steps import drift  # noqa: PLC0415

        found = {"at": now, "differences": drift.found(here)}
        files.write(paths.DRIFT, json.dumps(found), 0o600)
    yield Sample(f"{PREFIX}drift_differences", len(found["differences"]))


COLLECTORS: Mapping[str, Callable[[Spec], Iterator[Sample]]] = {
    "certificates": _certificates,
    "member": _member,
    "cluster": _cluster,
    "schedules": _schedules,
    "units": _units,
    "drift": _drift,
}
"""Part of the metrics -> what collects it. A part that fails takes nothing from the others."""
