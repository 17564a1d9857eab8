"""status: the state of the member, for a person on the machine."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

from ..backup import archive, drill_unit, proof, settings, turn
from ..cluster import claim, health, space
from ..data import identity
from ..machine import measured
from ..protocol import etcd, wal, x509
from ..service import client_certificates, manager, release, systemd
from ..shared import files, paths, spec
from ..shared.errors import NodeError
from ..steps import drift


def status(*, as_json: bool) -> str:
    """Reads what is installed and asks the members; changes nothing and takes no lock.

    Raises:
        NodeError: this machine holds no member.
    """
    known, wanted = identity.load(), files.read_json(paths.INSTALLED)
    if known is None:
        raise NodeError("no member of external-etcd is on this machine", "Run `pulumi up` to create one.")
    report = _report(known, spec.parse(json.dumps(wanted)) if wanted is not None else None)
    return json.dumps(report, indent=2) if as_json else _text(report)


def _report(known: identity.Identity, wanted: spec.Spec | None) -> dict[str, Any]:
    service, clients = manager.show(), files.read_json(paths.CLIENTS) or {}
    now = datetime.datetime.now(datetime.timezone.utc)
    live = systemd.command_of(service.pid)
    report: dict[str, Any] = {
        "member": known.member,
        "cluster": known.cluster,
        "unit": f"{service.active} ({service.sub})",
        "pid": service.pid,
        "restarts": service.restarts,
        "version_running": Path(live[0]).parent.name.lstrip("v") if live else "",
        "version_installed": wanted.release.version if wanted else "",
        "ports": _ports(wanted) if wanted else {},
        "data": _data(known),
        "measured": _record(wanted),
        "quota_bytes": wanted.quota_bytes if wanted else 0,
        "certificates": _certificates(now),
        "client_certificates": [
            {"name": name, **_expiry(ends, now)} for name, ends in client_certificates.rows(clients, now)
        ],
        "members": [],
        "alarms": [],
        **({"snapshots": {"last": None}} if wanted is not None and wanted.backup is not None else {}),
        "hints": [],
    }
    hints = report["hints"]
    if wanted is None:
        hints.append("The machine is prepared, and etcd has not been started: run `pulumi up` to its end.")
    else:
        _add_cluster(report, wanted)
        if not release.installed(wanted.release):
            hints.append(
                f"The release {wanted.release.version} is damaged or gone: the next `etcd-node prepare` repairs it."
            )
    if wanted is not None and wanted.backup is not None:
        hints += _snapshots(wanted, report["snapshots"])
    if wanted is not None and (changed := drift.of_files(wanted.data_directory)):
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        hints.append(
            f"Not as it was installed: {changed[0]}{more}. See `etcd-node drift`; the next update puts it right."
        )
    if not service.runs:
        hints.append(manager.advice("etcd does not run: see `journalctl -u etcd`, then run `pulumi up`."))
    if service.restarts:
        said = f"{manager.name()} has restarted etcd {service.restarts} times by itself: see `journalctl -u etcd`."
        hints.append(manager.advice(said))
    for row in report["certificates"]:
        if row["seconds_left"] < client_certificates.SOON.total_seconds():
            remedy = (
                "replace the CA by another, in three updates"
                if row["file"] in ("ca.crt", "peer-ca.crt")
                else "run `pulumi up`, which renews it inside its renewal window"
            )
            hints.append(f"{row['file']} expires {row['expires']}: {remedy}.")
    hints += [*client_certificates.expiring(clients, now), *client_certificates.replaced(clients, now)]
    if report["data"]["free_bytes"] < report["data"]["total_bytes"] // 10:
        hints.append("Less than a tenth of the data directory's file system is free.")
    return report


def _data(known: identity.Identity) -> dict[str, Any]:
    data = Path(known.data_directory)
    usage = shutil.disk_usage(data if data.exists() else "/")
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) if data.exists() else 0
    return {
        "directory": known.data_directory,
        "holds_member": wal.exists(known.data_directory),
        "size_bytes": size,
        "free_bytes": usage.free,
        "total_bytes": usage.total,
    }


def _expiry(ends: datetime.datetime, now: datetime.datetime) -> dict[str, Any]:
    return {"expires": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "seconds_left": int((ends - now).total_seconds())}


def _certificates(now: datetime.datetime) -> list[dict[str, Any]]:
    there = {name: files.read_bytes(paths.PKI / name) for name in spec.CERTIFICATES}
    return [
        {"file": name, **_expiry(x509.expires(der), now)}
        for name, pem in there.items()
        for der in x509.der_of((pem or b"").decode())
    ]


def _add_cluster(report: dict[str, Any], wanted: spec.Spec) -> None:
    try:
        found, wrong = health.examine(wanted)
        reached = [wanted.members[row["name"]] for row in found.get("members", [])]
        raised = etcd.alarms(wanted, reached) if reached else []
        holder = claim.holder_of(wanted, reached) if reached else None
        if wanted.backup is not None and reached:
            report["snapshots"]["last"] = turn.last(wanted, reached)
            if wanted.backup.drill:
                report["snapshots"]["drill"] = proof.last(wanted, reached)
    except NodeError as error:
        found, wrong, raised, holder = {}, [error.cause], [], None
    report["members"] = found.get("members", [])
    report["alarms"] = [f"{kind} on {member_id:x}" for member_id, kind in raised]
    report["hints"] += wrong
    report["hints"] += [
        f"The database of {row['name']} has {_size(row['db_size_bytes'])}, and {_size(row['db_in_use_bytes'])} of it "
        "in use: `etcd-node defragment` there gives the rest back to the file system."
        for row in report["members"]
        if space.fragmented(row["db_size_bytes"], row["db_in_use_bytes"], wanted.quota_bytes, wanted.maintenance)
    ]
    if any(kind == "NOSPACE" for _, kind in raised):
        report["hints"].append("The database is full, and etcd refuses writes: run `etcd-node recover-space`.")
    if holder is not None:
        report["hints"].append(f"An operator is changing this cluster, or was interrupted: {holder}.")


def _snapshots(wanted: spec.Spec, found: dict[str, Any]) -> list[str]:
    """Adds what this machine knows of snapshots, and says what is wrong with them."""
    result, left = settings.result(), archive.waiting(wanted.data_directory)
    found["attempt"] = dict(result)
    hints = []
    if "cause" in result:
        hints.append(f"The snapshot of {result['at']} failed on this machine: {result['cause']}. {result['remedy']}")
    if left:
        hints.append(f"This snapshot has not been stored elsewhere: {left[0]}.")
    if not settings.timer_runs():
        hints.append(f"No snapshots are taken from here: {paths.BACKUP_TIMER} does not run. Run `pulumi up`.")
    if wanted.backup is not None and wanted.backup.drill:
        found.setdefault("drill", {})["attempt"] = dict(drill_unit.result())
        hints += _drill(wanted.member, found["drill"])
    return hints


def _drill(member: str, found: dict[str, Any]) -> list[str]:
    """What is wrong with the proof that the last snapshot can be restored."""
    own, failed, hints = found["attempt"], found.get("failed"), []
    # In etcd, a failure goes with the next proof, whatever the machines' clocks say.
    ours = failed is not None and failed["member"] == member
    if "cause" in own and (ours or own["at"] >= found.get("proved", own)["at"]):
        hints.append(f"The drill failed on this machine, {_ago(own['at'])}: {own['cause']}. {own['remedy']}")
    elif failed is not None and not ours:
        hints.append(f"The drill failed on {failed['member']}, {_ago(failed['at'])}: {failed['cause']}. See there.")
    since, proved = own.get("since", own.get("at", 0)), found.get("proved", {}).get("at", 0)
    if "waits" in own and own["at"] - since > drill_unit.LATE_SECONDS and proved < since:
        hints.append(f"The drill has waited since it was due {_ago(since)}: {own['waits']}.")
    if not drill_unit.timer_runs():
        hints.append(f"No restores are proved from here: {paths.DRILL_TIMER} does not run. Run `pulumi up`.")
    return hints


def _ago(at: float) -> str:
    minutes = max(int(datetime.datetime.now(datetime.timezone.utc).timestamp() - at) // 60, 0)
    old = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
    return f"{old} ago"


def _last_snapshot(found: dict[str, Any]) -> str:
    last = found["last"]
    if last is None:
        return "none yet, or not known"
    return f"{_ago(last['taken'])} by {last['member']}: {last['name']} in {last['place']}, {last['keys']} keys"


def _last_restore(found: dict[str, Any]) -> str:
    proved = found["drill"].get("proved")
    if proved is None:
        return "not proved yet, or not known"
    return f"proved {_ago(proved['at'])} by {proved['member']}: {proved['name']}, in {proved['seconds']} s"


def _ports(wanted: spec.Spec) -> dict[str, Any]:
    served = {"machine_metrics": wanted.metrics_port} if wanted.metrics_port else {}
    return {"client": wanted.client_port, "peer": wanted.peer_port, "metrics": wanted.metrics_url, **served}


def _text(report: dict[str, Any]) -> str:
    data = report["data"]
    version = report["version_running"] or "not running"
    if report["version_installed"] not in ("", version):
        version += f" (installed: {report['version_installed']})"
    ports = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report["ports"].items())
    size, free, total = (_size(data[key]) for key in ("size_bytes", "free_bytes", "total_bytes"))
    lines = [
        f"member   {report['member']} of the cluster {report['cluster']}",
        f"etcd     {version}, unit {report['unit']}, pid {report['pid'] or '-'}",
        f"ports    {ports or '-'}",
        f"data     {data['directory']}, {size}; {free} of {total} free",
        *_measured(report["measured"]),
        f"quota    {_size(report['quota_bytes'])} for the database",
        f"alarms   {', '.join(report['alarms']) or 'none'}",
        *([f"snapshot {_last_snapshot(report['snapshots'])}"] if "snapshots" in report else []),
        *([f"restore  {_last_restore(report['snapshots'])}"] if "drill" in report.get("snapshots", {}) else []),
        "",
        *_table(
            ["MEMBER", "ROLE", "VERSION", "DB SIZE", "IN USE", "OF QUOTA", "ENDPOINT"],
            [
                [row["name"], row["role"], row["version"], *_room(row, report["quota_bytes"]), row["endpoint"]]
                for row in report["members"]
            ],
        ),
        "",
        *_table(
            ["CERTIFICATE", "EXPIRES", "DAYS LEFT"],
            [
                [row.get("file") or row["name"], row["expires"], str(row["seconds_left"] // 86400)]
                for row in report["certificates"] + report["client_certificates"]
            ],
        ),
    ]
    if report["hints"]:
        lines += ["", "To look at:", *(f"- {hint}" for hint in report["hints"])]
    return "\n".join(lines)


def _record(wanted: spec.Spec | None) -> dict[str, Any]:
    """What was measured here, without members that have left."""
    found = measured.record()
    if wanted is not None and "round_trips_ms" in found:
        trips = found["round_trips_ms"]
        found["round_trips_ms"] = {name: trips[name] for name in wanted.others if name in trips}
    return found


def _measured(found: dict[str, Any]) -> list[str]:
    """Disk and links, as they were when the member began."""
    lines, disk, links = [], found.get("disk"), found.get("round_trips_ms")
    if disk is not None:
        lines.append(
            f"disk     {disk['average_ms']:.1f} ms per synced write, p99 {disk['p99_ms']:.1f} ms, "
            f"{_ago(found['disk_at'])}"
        )
    if links:
        trips = ", ".join(f"{trip:.1f} ms to {name}" for name, trip in links.items())
        lines.append(f"links    {trips}, {_ago(found['round_trips_ms_at'])}")
    return lines


def _room(row: dict[str, Any], quota: int) -> list[str]:
    """Size of a member's database, how much of the file is in use, and how much of the quota the file has."""
    used, in_use = row["db_size_bytes"], row["db_in_use_bytes"]
    return [_size(used), f"{100 * in_use // max(used, 1)} %", f"{100 * used // max(quota, 1)} %"]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [head, *rows]]


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
