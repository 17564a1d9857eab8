"""What each kind of change means: for clients, the way back, and its section in the manual."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from . import announced as kinds
from . import measured
from .measured import Noticed
from .preview import BACKUP, CLUSTER, FIREWALL, LOGIN, MAINTENANCE, METRICS, Preview, Resource

_SET_BACK = "Set the old value and run `pulumi up`."
_NO_PEERS = "API servers have nothing to do: only members use these certificates."
_RECONNECT = "Clients of a restarting member connect to another one."
_NO_TASK = f"API servers have nothing to do. {_RECONNECT}"
_KEPT = ("Bucket", "Eip", "Instance", "PrimaryIp", "Server", "Volume")
"""Types in a cloud whose resources have data or an address that another one has not."""
_RELEASES = re.compile(r"etcd (\d+)\.(\d+)\.(\d+) -> (\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Consequence:
    """One kind of change in a preview."""

    what: str
    clients: str
    """What API servers and other clients notice, and what must be done for them; empty: others say it."""
    back: str
    """How to undo it, or that this is not possible."""
    page: str
    """Of the manual: `docs/operations.md`."""
    section: str
    """Its title there."""
    noticed: Noticed | None = None
    """How long clients notice it; None: another consequence of the same change says so, or there is no figure."""
    final: bool = False
    """Whether something of it cannot be undone."""


def consequences(preview: Preview) -> list[Consequence]:
    """Every kind of change in the preview, the most serious ones first."""
    parts = (
        *(_of_the_cluster(preview), _of_members(preview), _of_drift(preview)),
        *(_of_settings(preview), _of_resources(preview)),
    )
    found = dict.fromkeys(each for part in parts for each in part)
    return sorted(found, key=lambda each: not each.final)


def _of_the_cluster(preview: Preview) -> Iterator[Consequence]:
    happens = {each.kind for each in preview.steps}
    if preview.overridden:
        yield Consequence(
            "A change that the guard refuses is made all the same",
            "As the refusal above says.",
            "Not known: the guard refuses it because it may have none. Save a snapshot elsewhere before.",
            *_operations("What the preview shows"),
            noticed=measured.RULES,
            final=True,
        )
    if kinds.ALL_STOP in happens:
        yield Consequence(
            "The data are replaced by those of a snapshot",
            "Everything written after the snapshot is lost. No member serves from the stop of all to the start of the "
            "new cluster. API servers list again by themselves.",
            "Only before the first member stops: remove `restore`. The old data stay on the machines, moved aside.",
            "docs/restore.md",
            "It was interrupted",
            noticed=measured.RESTORE,
            final=True,
        )
    if kinds.BOOTSTRAP in happens:
        yield Consequence(
            "A new cluster is created",
            "There are none yet.",
            "`pulumi destroy`.",
            *_operations("Take the cluster down"),
            noticed=measured.NEW_CLUSTER,
        )
    if kinds.INSPECT in happens or kinds.MANIFEST in happens or kinds.NODE_REMOVED in happens:
        yield _migration(happens)
    if kinds.GIVEN_UP in happens:
        yield Consequence(
            "A control plane is given up, and its etcd leaves",
            "Its API server must be gone for good.",
            "There is none: its etcd does not come back.",
            "docs/migration.md",
            "A control plane that is lost for good",
            final=True,
        )
    if happens & {kinds.AUTH_OFF, kinds.AUTH_ON, kinds.USER_GRANTED, kinds.USER_REMOVED}:
        turned = {
            kinds.AUTH_ON: "Clients that are neither root nor a listed user lose all access.",
            kinds.AUTH_OFF: "Every certificate of the CAs gives full access again.",
        }
        texts = [text for kind, text in turned.items() if kind in happens]
        yield Consequence(
            "Users or authentication",
            " ".join(texts) or "The users in the steps below get or lose access.",
            _SET_BACK,
            *_operations("Users with limited access (etcd's authentication)"),
            noticed=measured.AUTHENTICATION if kinds.AUTH_ON in happens else measured.USERS,
        )
    for text in (each.step.text for each in preview.steps if each.kind == kinds.ISSUE):
        what = text.partition(":")[0]
        yield Consequence(
            what,
            _NO_PEERS
            if what.endswith(" of peers")
            else "API servers need the new certificate and key afterwards; they read them without a restart.",
            "Set the old `issuer` and run `pulumi up`.",
            *_operations("2. The new one issues"),
            noticed=measured.ISSUE,
        )


def _migration(happens: set[str]) -> Consequence:
    what, clients, back, section = "A phase of the migration", "See the steps below.", _SET_BACK, "Who can use it"
    noticed = None
    if kinds.NO_RETURN in happens or kinds.MANIFEST in happens:
        back, noticed = "There is none from the first removal on.", measured.MIGRATION_LEAVE
        what, section = "Migration: the stacked members leave", "leave"
        clients = "Other clients of the stacked etcd lose it. Give them the new endpoints before."
    elif kinds.API_RESTART in happens:
        what, section = "Migration: the API servers change to other members", "switch"
        clients, noticed = "API servers restart one after another.", measured.MIGRATION_SWITCH
        back = "Set the previous phase and run `pulumi up`."
    elif kinds.JOIN in happens:
        what, section, back = "Migration: the new members join", "join", "Set `phase: back` and run `pulumi up`."
        clients, noticed = "API servers keep their stacked members.", measured.MIGRATION_JOIN
    elif kinds.NODE_REMOVED in happens:
        what, section, clients = "Migration: it is completed", "done", "API servers have nothing to do."
        back, noticed = "Not needed: the stacked members have left before.", measured.MIGRATION_END
    elif kinds.REMOVE in happens and kinds.RETIRE in happens:
        what, section, clients = "Migration: the new members leave again", "join", "API servers have nothing to do."
        back, noticed = "Set `phase: join` and run `pulumi up`: they join again.", measured.MIGRATION_END
    return Consequence(what, clients, back, "docs/migration.md", section, noticed, final=kinds.NO_RETURN in happens)


def _of_members(preview: Preview) -> Iterator[Consequence]:
    happens = {each.kind for each in preview.steps}
    for why in dict.fromkeys(why for each in preview.steps for why in each.why):
        found = _restart(why, only=any(each.step.only_member for each in preview.steps))
        clusters = dict.fromkeys(f"`{each.cluster}`" for each in preview.steps if why in each.why)
        yield replace(found, what=f"{found.what} ({', '.join(clusters)})") if len(preview.clusters) > 1 else found
    if happens & {kinds.BOOTSTRAP, kinds.ALL_STOP, kinds.INSPECT, kinds.MANIFEST}:
        return
    joins, leaves = named(preview, kinds.JOIN), named(preview, kinds.REMOVE)
    if leaves:
        yield Consequence(
            _list(joins, "joins", "join") + ", and " * bool(joins) + _list(leaves, "leaves", "leave"),
            "API servers need the endpoints without the leaving members before this update"
            + (", and those of the new ones afterwards." if joins else "."),
            "Restore the old list and run `pulumi up`: removed members join again with an empty disk.",
            *_operations("Replace a member with one of another name" if joins else "Fewer members"),
            noticed=measured.JOIN if joins else measured.RESTART,
        )
    elif joins:
        yield Consequence(
            _list(joins, "joins", "join"),
            "API servers need the new endpoints afterwards, at any time.",
            "Restore the old list and run `pulumi up`: the new members leave again.",
            *_operations("More members"),
            noticed=measured.JOIN,
        )
    if kinds.REPLACE in happens:
        volume = kinds.BACK_WITH_DATA in happens
        yield Consequence(
            _list(named(preview, kinds.REPLACE), "gets a new machine", "get new machines"),
            _NO_TASK,
            "There is none: a generation is never lowered. "
            + (
                "The member's data are on its volume and stay." if volume else "The member copies its data from others."
            ),
            *_operations("Replace a machine in a cloud"),
            noticed=measured.REPLACED,
            final=True,
        )
    if kinds.CHECK in happens:
        yield Consequence(
            _list(named(preview, kinds.CHECK), "has another machine", "have other machines"),
            "API servers have nothing to do.",
            "Not needed: a member with its data continues, and one with an empty disk copies them from the others.",
            *_operations("A lost machine or disk"),
            # Restarts are noticed longer.
            noticed=None if any(each.why for each in preview.steps) else measured.MACHINE,
        )


def _of_drift(preview: Preview) -> Iterator[Consequence]:
    """What others have changed on machines."""
    stopped = [name for each in preview.steps if each.kind == kinds.PUT_RIGHT for name in each.restarts]
    if names := named(preview, kinds.PUT_RIGHT):
        yield Consequence(
            f"What others have changed on the machines of {_list(names, '', '').strip()} is put right",
            _NO_TASK if stopped else "API servers have nothing to do.",
            "Not needed: the configuration is as it was.",
            *_operations("What others have changed on a machine (drift)"),
            noticed=measured.RESTART if stopped else measured.DRIFT,
        )
    elif kinds.LOOK in {each.kind for each in preview.steps}:
        yield Consequence(
            "The machines are asked what others have changed on them",
            "API servers have nothing to do.",
            "Not needed: nothing changes.",
            *_operations("What others have changed on a machine (drift)"),
            noticed=measured.DRIFT,
        )


def _restart(why: str, *, only: bool) -> Consequence:
    alone = "No client is served while the only member restarts."
    clients = alone if only else _NO_TASK
    releases = _RELEASES.fullmatch(why)
    if releases:
        old, new = (tuple(map(int, releases.groups()[part])) for part in (slice(0, 3), slice(3, 6)))
        back = "Set the old version and run `pulumi up`."
        if old[:2] < new[:2]:
            back = (
                "Set the old version and run `pulumi up`, also in the middle. When all members have the new one, that "
                f"is a downgrade, to {old[0]}.{old[1]} and no further."
            )
        elif old[:2] > new[:2]:
            back = "Set the later version and run `pulumi up`: the downgrade is cancelled."
        down = old[:2] > new[:2]
        title, noticed = ("Downgrade", measured.RESTART) if down else ("Change the version", measured.VERSION)
        what = why.replace("->", "→")
    elif why.startswith("trusts "):
        after = "API servers need the new `ca.crt` afterwards, and a restart if a CA was added."
        if why.startswith("trusts CA "):  # the only one that is left
            after = "API servers can get the new `ca.crt` at any later time."
        after = _NO_PEERS if why.endswith(" for peers") else after
        clients = f"{alone if only else _RECONNECT} {after}"
        what, noticed, title = why.replace("trusts", "Members trust", 1), measured.RESTART, "Replace the CA"
        back = "Restore list and issuer, and run `pulumi up`."
    elif why in ("systemd -> kubelet", "kubelet -> systemd", "another image"):
        image = why == "another image"
        what = "The image of etcd" if image else f"etcd moves from {why.replace('->', 'to')}"
        noticed = measured.ONLY_MEMBER if only else measured.IMAGE if image else measured.SERVICE_MANAGER
        return Consequence(what, clients, _SET_BACK, "docs/kubelet.md", "Move between systemd and the kubelet", noticed)
    else:
        what = f"Settings: {', '.join(f'`{flag}`' for flag in why.split(', '))}"
        back, noticed, title = _SET_BACK, measured.SETTING, "Change a setting"
    return Consequence(what, clients, back, *_operations(title), measured.ONLY_MEMBER if only else noticed)


def _of_settings(preview: Preview) -> Iterator[Consequence]:
    """Settings of machines for which the guard announces no steps."""
    nothing = "API servers have nothing to do."
    quiet = {
        FIREWALL: Consequence(
            "Who reaches etcd on the machines (`firewall`)",
            "Whoever is not in the list loses access, also with an open connection.",
            _SET_BACK,
            *_operations("Filter access to etcd on existing machines"),
            noticed=measured.FIREWALL,
        ),
        BACKUP: Consequence(
            "Snapshots that are kept elsewhere (`backup`)",
            nothing,
            f"{_SET_BACK} Stored snapshots stay.",
            "docs/backups.md",
            "Turn it off",
            noticed=measured.BACKUP,
        ),
        MAINTENANCE: Consequence(
            "What machines do about the size of the database (`maintenance`)",
            nothing,
            _SET_BACK,
            *_operations("Free space in the database (defragmentation)"),
            noticed=measured.DEFRAGMENTATION,
        ),
        METRICS: Consequence(
            "Metrics that the machines write for Prometheus (`prometheus`)",
            nothing,
            _SET_BACK,
            "docs/monitoring.md",
            "What etcd does not know",
            noticed=measured.METRICS,
        ),
        LOGIN: Consequence(
            "How Pulumi logs in on the machines", nothing, _SET_BACK, *_operations("Logins and keys"), measured.LOGIN
        ),
    }
    # Other machines have other logins.
    yield from (quiet[key] for key in preview.settings if key != LOGIN or not preview.steps)


def _of_resources(preview: Preview) -> Iterator[Consequence]:
    removed = removed_clusters(preview)
    for name in removed:
        yield Consequence(
            f"The cluster `{name}` is removed: etcd stops on all its machines, at once",
            "All clients lose it.",
            "There is none. Machines of a cloud are deleted with their disks; on others, the data are moved aside.",
            *_operations("Take the cluster down"),
            noticed=measured.REMOVED,
            final=True,
        )
    staged = any(
        (each.type, each.op) == ("command:remote:Command", "delete") and each.name.endswith("-stage")
        for each in preview.resources
    )
    if staged and not removed and kinds.ALL_STOP not in {each.kind for each in preview.steps}:
        yield Consequence(
            "The commands of a restore leave the state",
            "API servers have nothing to do.",
            "Not needed if the restore is complete. Otherwise, it is given up.",
            "docs/restore.md",
            "It was interrupted",
            noticed=measured.RESTORED,
        )
    for each in preview.resources:
        # Only a CA signs itself, and one of the user is no resource.
        leaves_alone = not any(each.name.startswith(f"{name}-pki-") for name in removed)
        if leaves_alone and each.op == "delete" and each.type == "tls:index/selfSignedCert:SelfSignedCert":
            yield Consequence(
                f"The CA `{each.name}` is deleted with its key",
                "Certificates that it issued are refused.",
                "There is none for this key. A new CA takes three updates again.",
                *_operations("3. Drop the old one"),
                final=True,
            )
    renewed = [each.name for each in preview.resources if is_renewal(each)]
    if renewed and kinds.ISSUE not in {each.kind for each in preview.steps}:
        api_servers = any(name.endswith("-apiserver-etcd-client") for name in renewed)
        need = "API servers need the renewed files within 30 days; they read them without a restart."
        yield Consequence(
            f"{len(renewed)} certificate{'s' * (len(renewed) != 1)} renewed",
            need if api_servers else "API servers have nothing to do.",
            "Not needed: the earlier ones stay valid until they expire.",
            *_operations("Renew certificates"),
            noticed=measured.RENEWAL,
        )
    yield from _of_a_cloud(preview)


def _of_a_cloud(preview: Preview) -> Iterator[Consequence]:
    announced = named(preview, kinds.REPLACE)
    changed = sorted(filter(of_a_cloud, preview.resources), key=lambda each: (each.name, each.type))
    # The announced replacement of a machine has a consequence of its own.
    deleted = [
        each
        for each in changed
        if each.op in ("delete", "replace") and _kind(each) in _KEPT and not _is_machine_of(each, announced)
    ]
    if deleted:
        names = ", ".join(f"{_kind(each)} `{each.name}` ({each.op})" for each in deleted)
        yield Consequence(
            f"Machines, disks or addresses of a cloud are deleted or replaced: {names}",
            "",
            "What was on a deleted disk does not come back. Members copy their data from others.",
            *_operations("To other machines, another network or platform"),
            final=True,
        )
    rules = [each for each in changed if "Firewall" in each.type or "SecurityGroup" in each.type]
    if rules:
        names = ", ".join(f"`{each.name}` ({each.op})" for each in rules)
        yield Consequence(
            f"Rules of a cloud for who reaches what: {names}",
            "Whoever is not in the new rules loses access, also with an open connection.",
            _SET_BACK,
            *_operations("Filter access to etcd on existing machines"),
        )


def _kind(resource: Resource) -> str:
    return resource.type.rpartition(":")[2]


def _is_machine_of(resource: Resource, members: tuple[str, ...]) -> bool:
    machine = resource.op == "replace" and _kind(resource) in ("Instance", "Server")
    return machine and _is_of(resource.name, members)


def _is_of(name: str, members: tuple[str, ...]) -> bool:
    return any(name.endswith(f"-{member.rpartition('/')[2]}") for member in members)


def unannounced(preview: Preview) -> list[str]:
    """Machines and volumes of members that are deleted or replaced, though no step says so: the guard has not seen it.

    That is so if something else than the configuration has changed, such as a transformation or a provider.
    """
    if removed_clusters(preview):
        return []
    said = named(preview, kinds.REPLACE, kinds.REMOVE, kinds.NO_RETURN, kinds.RETIRE)
    return [name for name in preview.machines if not _is_of(name, said)]


def of_a_cloud(resource: Resource) -> bool:
    """Whether it is none of what every platform has: keys, certificates, commands, records in the state."""
    return bool(resource.type) and not resource.type.startswith(("tls:", "command:", "pulumi:", "external-etcd:"))


def removed_clusters(preview: Preview) -> list[str]:
    """Clusters that the program no longer has. The guard announces no steps for them."""
    return [each.name for each in preview.resources if (each.type, each.op) == (CLUSTER, "delete")]


def is_renewal(resource: Resource) -> bool:
    """Whether it is a certificate that is issued again."""
    return resource.type == "tls:index/locallySignedCert:LocallySignedCert" and resource.op in ("update", "replace")


def named(preview: Preview, *which: str) -> tuple[str, ...]:
    """The members in the announced steps of these kinds, in order."""
    return tuple(dict.fromkeys(name for each in preview.steps if each.kind in which for name in each.who))


def _list(names: tuple[str, ...], one: str, more: str) -> str:
    return f"{', '.join(f'`{name}`' for name in names)} {one if len(names) == 1 else more}" if names else ""


def _operations(title: str) -> tuple[str, str]:
    return "docs/operations.md", title
