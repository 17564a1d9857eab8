"""How long clients notice a change: what this project has measured, and what its tests hold, each with its source.

None of it is a prediction for other machines. A test finds each figure in one of the sections that it names.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noticed:
    """How long clients notice one kind of change."""

    text: str
    sources: tuple[tuple[str, str], ...]
    """Page of the manual and title of the section, for each."""


_CHANGES = ("docs/benchmarks.md", "Changes of a running cluster")
_API = ("docs/benchmarks.md", "Kubernetes API during changes")
_HELD = ("docs/safety.md", "Later runs")
_MIGRATION = ("docs/migration.md", "A run in the lab")
_KUBELET = ("docs/kubelet.md", "A run in the lab")
_NOTHING = "not at all"


def _gap(*sources: tuple[str, str], measured: str = "") -> Noticed:
    without = "without an acknowledged write"
    text = f"{measured} {without} as measured, below one second in all tests"
    return Noticed(text if measured else f"below one second {without}, in all tests", (*sources, _HELD))


SETTING = _gap(_CHANGES, _API, measured="23 ms (205 ms through an API server)")
VERSION = _gap(_CHANGES, _API, measured="53 ms (216 ms through an API server)")
JOIN = _gap(_CHANGES, _API, measured="101 ms (207 ms through an API server)")
MACHINE = _gap(_CHANGES, measured="20 ms")
SERVICE_MANAGER = _gap(_KUBELET, measured="0.17 s")
IMAGE = _gap(_KUBELET, measured="0.10 s")
RESTART = _gap()
"""Of members for a CA or a downgrade, and when members leave."""
REPLACED = _gap(("docs/safety.md", "AWS"), ("docs/safety.md", "Hetzner Cloud"))
ONLY_MEMBER = Noticed(
    "as long as the only member takes to restart: no other one serves meanwhile",
    (("docs/operations.md", "Change a setting"),),
)
_CERTIFICATES = f"{_NOTHING}: nothing restarts, and open connections stay"
RENEWAL = Noticed(_CERTIFICATES, (("docs/operations.md", "Renew certificates"),))
ISSUE = Noticed(_CERTIFICATES, (("docs/operations.md", "2. The new one issues"),))
_USERS = (("docs/operations.md", "Users with limited access (etcd's authentication)"),)
USERS = Noticed(f"{_NOTHING}, if their access stays", _USERS)
AUTHENTICATION = Noticed("one moment, in which a request can be refused; nothing of it is executed then", _USERS)
RESTORE = Noticed(
    "no service for 2.1 s with 200 MiB of data, for 5.1 s with 2 GiB, as measured",
    (("docs/benchmarks.md", "Snapshots, defragmentation and restore"),),
)
RESTORED = Noticed(f"{_NOTHING}, if the restore is complete", (("docs/restore.md", "Once"),))
MIGRATION_JOIN = Noticed("0.4 s between two writes, as measured", (_MIGRATION,))
MIGRATION_SWITCH = Noticed(
    "each of three API servers is away for 6 to 18 s, one at a time, as measured; a single one for 5 s", (_MIGRATION,)
)
MIGRATION_LEAVE = Noticed("0.9 s between two writes, as measured; one write timed out", (_MIGRATION,))
MIGRATION_END = Noticed(_NOTHING, (_MIGRATION,))
"""`done` and `back`."""
BACKUP = Noticed(f"{_NOTHING}: no etcd restarts", (("docs/safety.md", "Snapshots that are kept elsewhere"),))
FIREWALL = Noticed(f"{_NOTHING}, if they are in the list", (("docs/safety.md", "The unit"),))
DEFRAGMENTATION = Noticed(
    "515 ms with 200 MiB of data, 553 ms with 2 GiB, whenever a member is defragmented, as measured",
    (("docs/benchmarks.md", "Snapshots, defragmentation and restore"),),
)
DRIFT = Noticed(
    f"{_NOTHING}: no member restarts", (("docs/operations.md", "What others have changed on a machine (drift)"),)
)
LOGIN = Noticed(f"{_NOTHING}: no member restarts", (("docs/operations.md", "Logins and keys"),))
METRICS = Noticed(f"{_NOTHING}: no member restarts", (("docs/monitoring.md", "Monitoring with Prometheus"),))
NEW_CLUSTER = Noticed("there are no clients yet", (("docs/operations.md", "Rules for every change"),))
REMOVED = Noticed("from then on, for good", (("docs/operations.md", "Take the cluster down"),))
RULES = Noticed(
    "not known: the rules that keep it short are overridden", (("docs/operations.md", "What the preview shows"),)
)
