"""The restore of a cluster from a snapshot: its settings, and the snapshots that it refuses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..node.backup.retention import parse as parse_name
from ..node.protocol.snapshot_file import SnapshotFile
from ..node.shared.backup import NEWEST, is_identity
from .errors import Problem, shown
from .members import check_name
from .versions import parse

MAJORITY_AWAY, UNKNOWN_CLUSTER = "majority-away", "unknown-cluster"
ACCEPTED = (MAJORITY_AWAY, UNKNOWN_CLUSTER)
"""What `accept` can contain."""
BUMP = 1_000_000_000
"""Each restore raises the revision by this times its number: more than any cluster writes between two of them."""
MOST = 1_000_000


@dataclass(frozen=True)
class RestorePlan:
    """A restore."""

    source: str
    """The snapshot: a file on the operator's computer, the name of one in the store, or NEWEST of the store."""
    confirm: str
    """Name of the cluster whose data are given up."""
    number: int = 1
    """Each restore of a cluster has a higher one; it is made once."""
    accept: Sequence[str] = ()
    """Some of ACCEPTED: refusals that do not apply."""
    pending: bool = False
    """The last update has not made it."""
    snapshot: SnapshotFile | None = None
    """What the file says; None: it is not needed, or it was not read."""
    taken: str = ""
    """Time of the file, in words."""
    trouble: str = ""
    """Why the file could not be read."""
    place: str = ""
    """The destination of snapshots (`backup`), in words; empty: there is none."""
    identity: bool = False
    """Whether the private key is given; its text is not part of a plan."""

    @property
    def stored(self) -> bool:
        """Whether the snapshot is in the store."""
        return in_store(self.source)

    @property
    def what(self) -> str:
        """The snapshot, in words."""
        if self.source == NEWEST:
            return f"the newest snapshot in {self.place} at the time of this update"
        name = parse_name(self.source)
        if name is not None:
            return f"{self.source} in {self.place} (of {name.taken} UTC, revision {name.revision})"
        if self.snapshot is None:
            return self.source
        return (
            f"{self.source} (file of {self.taken}, revision {self.snapshot.revision}, "
            f"SHA-256 {self.snapshot.sha256[:12]}...)"
        )


def in_store(source: str) -> bool:
    """Whether `from` names a snapshot in the store and not a file: NEWEST, or a name like those that members give."""
    return source == NEWEST or parse_name(source) is not None


def check_identity(identity: object, key: str) -> list[Problem]:
    """Why this is no private key; empty if it is one, or not known here. It is never shown."""
    if not isinstance(identity, str) or is_identity(identity):
        return []
    rule = "It must be the text of a file that age-keygen has written, without a passphrase"
    return [Problem(key, "a text (not shown)", rule, f"pulumi config set --path --secret {key} < that file")]


def check_restore(
    restore: RestorePlan, cluster: str, *, migrating: bool, spelled: Callable[[str], str] = str
) -> list[Problem]:
    """Why these settings are not valid; empty when they are.

    Args:
        cluster: name of the cluster.
        migrating: whether a migration is not complete.
    """
    key, problems = spelled("restore"), []
    if not restore.source.strip():
        problems.append(Problem(f"{key}.from", "nothing", "A restore must have a snapshot", "Set it to a file"))
    if restore.confirm != cluster:
        rule = (
            "A restore gives up everything that the cluster has written after the snapshot, so it must be confirmed "
            "with the name of the cluster"
        )
        remedy = f"If that is what you want, set it to {cluster}"
        problems.append(Problem(f"{key}.confirm", shown(restore.confirm or None), rule, remedy))
    if not 1 <= restore.number <= MOST:
        rule = f"The number of a restore must be from 1 to {MOST}"
        problems.append(Problem(f"{key}.number", str(restore.number), rule, "Set it to 1, or one more than the last"))
    for each in restore.accept:
        if each not in ACCEPTED:
            rule = f"It must be one of {', '.join(ACCEPTED)}"
            problems.append(Problem(f"{key}.accept", shown(each), rule, "Remove it"))
    if migrating:
        rule = "During a migration, the stacked members have the data, too"
        problems.append(Problem(key, restore.source, rule, "Complete the migration first, or go back"))
    return problems


def check_snapshot(
    restore: RestorePlan, cluster: str, version: str, spelled: Callable[[str], str] = str
) -> list[Problem]:
    """Why this snapshot must not be restored; empty when it can be, or need not.

    Args:
        cluster: name of the cluster.
        version: its release of etcd, `X.Y.Z`.
    """
    if not restore.pending:
        return []
    key, found = f"{spelled('restore')}.from", restore.snapshot
    if restore.stored:
        return _check_stored(restore, cluster, spelled)
    if restore.identity:
        rule = "A file must be decrypted already, so no private key is needed"
        return [Problem(f"{spelled('restore')}.identity", "a text (not shown)", rule, "Remove it")]
    if found is None:
        rule = f"The snapshot cannot be restored: {restore.trouble or 'it was not read'}"
        return [Problem(key, restore.source, rule, "Set it to a whole snapshot, decrypted and decompressed")]
    problems = []
    if found.cluster != cluster and not (not found.cluster and UNKNOWN_CLUSTER in restore.accept):
        if found.cluster:
            rule = f"The snapshot is of the cluster {_name(found.cluster)}, not of {cluster}"
            remedy = f"Set it to a snapshot of {cluster}"
        else:
            rule = "The snapshot does not say of which cluster it is: an older version of this program, or another one"
            remedy = f"If you know that it is of {cluster}, set {spelled('restore')}.accept to [{UNKNOWN_CLUSTER}]"
        problems.append(Problem(key, restore.source, rule, remedy))
    wanted, theirs = parse(version), parse(f"{found.series}.0")
    if wanted is not None and theirs is not None:
        minors = 100 * (wanted.major - theirs.major) + wanted.minor - theirs.minor
        if minors not in (0, 1):
            late = "later" if minors < 0 else "much earlier"
            rule = (
                f"etcd {version} is made for data of its own minor version and the one before; the snapshot is of "
                f"the {late} {theirs.series}"
            )
            remedy = f"Set {spelled('version')} to a release of {theirs.series}, in the same update"
            problems.append(Problem(key, restore.source, rule, remedy))
    return problems


def _check_stored(restore: RestorePlan, cluster: str, spelled: Callable[[str], str]) -> list[Problem]:
    """What can be known of a snapshot in the store without asking the store. The machines check its content."""
    key, problems = spelled("restore"), []
    name = parse_name(restore.source)
    if name is not None and name.cluster != cluster:
        rule = f"The snapshot is of the cluster {name.cluster}, not of {cluster}"
        problems.append(Problem(f"{key}.from", restore.source, rule, f"Set it to a snapshot of {cluster}"))
    if not restore.place:
        rule = "The machines must know the store in which the snapshot is"
        remedy = f"Set {spelled('backup')}: destination, credentials, and recipients for the next snapshots"
        problems.append(Problem(f"{key}.from", restore.source, rule, remedy))
    if not restore.identity:
        rule = "Snapshots in the store are encrypted, and no machine has the private key"
        remedy = f"Set it as a secret; or decrypt the snapshot on your computer, and set {key}.from to the file"
        problems.append(Problem(f"{key}.identity", "nothing", rule, remedy))
    return problems


def _name(text: str) -> str:
    return shown(text) if check_name(text, "") else text
