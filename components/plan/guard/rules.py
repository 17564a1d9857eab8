"""What one update cannot do, and why. Each rule is a function of the change alone."""

from collections.abc import Callable, Iterator

from ..errors import Problem, shown
from ..flag_values import OURS
from ..generations import check_generations
from ..members import MAX_MEMBERS
from ..origin import EXISTS
from ..timers import LEAST_BEATS
from ..versions import newest, upgrade_floor
from .change import Change, Trust
from .machine_replacement import elsewhere, keeps_machines, other_place
from .migration import check_phase
from .restore import check_restored
from .steps import steps

Spelled = Callable[[str], str]
"""The user's spelling of an argument of `EtcdCluster`."""

MOST_VOTERS = MAX_MEMBERS + 1
"""At most this many at a time, while a new member replaces another."""


def check(change: Change, spelled: Spelled = str) -> list[Problem]:
    """Every reason why one update cannot make this change; empty when it can.

    Args:
        change: the change from the last update to the desired state.
        spelled: gives the keys of the problems.
    """
    if problems := list(check_phase(change, spelled)):
        return problems  # all others follow from another phase
    problems = list(check_restored(change, spelled))
    if problems or change.restores:
        return problems  # no member runs meanwhile
    problems = [problem for rule in _RULES for problem in rule(change, spelled)]
    # Steps make sense only for a change that follows the rules.
    return problems or list(_quorum(change, spelled))


def _identity(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """What a cluster and its members must always keep."""
    before, after = change.before, change.after
    if before.cluster != after.cluster:
        yield Problem(
            spelled("cluster_name"),
            shown(after.cluster),
            f"A cluster must keep its name; in the last update it was {before.cluster!r}",
            f"Set it back to {before.cluster}; another cluster needs another stack",
        )
    for index, name in enumerate(after.members):
        if name not in before.members:
            continue
        at = f"{spelled('members')}[{index}]"
        # Another network or platform is reported once, by `keeps_machines`.
        if after.members[name] != before.members[name] and not elsewhere(change, name):
            yield Problem(
                f"{at}.{spelled('address')}",
                shown(after.members[name]),
                f"A member must keep its address; in the last update, that of {name} was {before.members[name]}",
                f"Set it back to {before.members[name]}, or give the member at the new address another name: it joins, "
                f"then {name} is removed",
            )
    at = spelled("data_directory")
    moved = [name for name, path in after.data_directories.items() if before.data_directories.get(name, path) != path]
    # The machines that Pulumi creates have one for all.
    one = [name for name in moved if after.origins.get(name, EXISTS) != EXISTS]
    for name in one[:1] or moved:
        yield Problem(
            at if one else f"{spelled('members')}[{list(after.members).index(name)}].{at}",
            shown(after.data_directories[name]),
            f"A member must keep its data directory; in the last update, that of {name} was "
            f"{before.data_directories[name]}",
            "Set it back; only a member with another name can have another directory",
        )


def _versions(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Etcd's own rules for upgrades and downgrades."""
    before, after = change.versions
    key, value = spelled("version"), shown(change.after.version)
    if abs(change.minors) > 1:
        way = "upgraded" if change.minors > 0 else "downgraded"
        yield Problem(
            key,
            value,
            f"etcd can be {way} by only one minor version at a time; the last update installed {before}",
            f"Go through the minor versions between {before.series} and {after.series}, one update each",
        )
    floor = upgrade_floor(before.series)
    if change.minors > 0 and floor is not None and before < floor:
        yield Problem(
            key,
            value,
            f"Every member must run at least {floor} before the next minor version; the last update installed {before}",
            f"Set it to {newest(before.series)} first",
        )
    floor = upgrade_floor(after.series)
    if change.minors < 0 and floor is not None and after < floor:
        yield Problem(
            key,
            value,
            f"A downgrade to {after.series} must go to at least {floor}, because older patches cannot be upgraded "
            f"again; the last update installed {before}",
            f"Set it to {newest(after.series)} first",
        )


def _one_thing(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Changes that exclude each other: when one fails half-way, no other must be half-way too."""
    kinds = {
        "version": (change.version, spelled("version"), shown(change.after.version)),
        "members": (change.membership, spelled("members"), _members(change)),
        "machine generations": (bool(change.replaced), spelled("generation"), ", ".join(change.replaced)),
        "CAs": (change.authorities, *_authorities(change, spelled)),
        "service manager": (
            change.service_manager,
            spelled("service_manager"),
            change.after.service_manager,
        ),
    }
    present = [(name, key, value) for name, (here, key, value) in kinds.items() if here]
    for name, key, value in present[1:]:
        yield Problem(
            key,
            value,
            f"One update can change the {present[0][0]} or the {name}, not both",
            "Split it into two updates",
        )
    if change.replaced and change.flags and not change.version:
        yield Problem(
            spelled("generation"),
            ", ".join(change.replaced),
            f"While the machine of {change.replaced[0]} is replaced, no other member can restart; a new value of "
            f"{', '.join(change.flags)} restarts them all",
            "Split it into two updates",
        )


def _membership(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """New members join before others are removed, and at least one member stays."""
    key, value = spelled("members"), _members(change)
    if not change.staying:
        yield Problem(
            key,
            value,
            "A member that stays must remove the others, and no member would stay",
            "Keep one of them for the first update; a cluster of one member must grow to three first",
        )
    if change.leaving and change.other_machine:
        yield Problem(
            key,
            value,
            "While members are removed, all others must run, but another machine is configured for "
            f"{', '.join(change.other_machine)}",
            "Split it into two updates, that machine first",
        )
    most = len(change.before.members) + len(change.joining)
    if most > MOST_VOTERS:
        yield Problem(
            key,
            value,
            f"New members join before others are removed, and {most} voters at a time are more than {MOST_VOTERS}",
            "Replace fewer members in one update",
        )
    taken = {address: name for name, address in change.before.members.items() if name in change.leaving}
    for name in change.joining:
        address = change.after.members[name]
        if address in taken:
            index = list(change.after.members).index(name)
            yield Problem(
                f"{key}[{index}].{spelled('address')}",
                shown(address),
                f"{name} joins before {taken[address]} is removed, and both would have this address",
                f"Keep the name {taken[address]} at this address, or give {name} a machine with another address",
            )


def _generations(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Machines are replaced one at a time, and only while the other members have a quorum."""
    before = {name: each for name, each in change.before.generations.items() if name in change.staying}
    key = spelled("members")
    yield from check_generations(before, change.after.generations, key)
    raised = [
        name for name, generation in change.after.generations.items() if generation > before.get(name, generation)
    ]
    if raised and len(change.after.members) == 1 and not change.after.on_volumes:
        yield Problem(
            f"{key}.{raised[0]}.generation",
            str(change.after.generations[raised[0]]),
            "The only copy of this cluster's data is on its machine's disk and would be deleted with it",
            "Let the cluster grow to 3 members first, or take a snapshot, destroy the cluster and create it again",
        )


def _trust(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """A CA is replaced in three updates: trust both, issue with the new one, remove the old one."""
    for each in change.trust:
        yield from _trust_of(each, spelled)


def _trust_of(change: Trust, spelled: Spelled) -> Iterator[Problem]:
    key, issuer_key = spelled(change.authorities), spelled(change.issuer)
    issued, issues = change.issuers
    if issues not in change.after:
        rule = f"The issuer must be one of the trusted CAs: {', '.join(change.after)}"
        yield Problem(issuer_key, shown(issues), rule, "Add it to them, or set another issuer")
    if issues not in change.before:
        yield Problem(
            issuer_key,
            shown(issues),
            "A CA may issue certificates only after all members and clients have trusted it for one full update; in "
            f"the last update they trusted {', '.join(change.before)}",
            f"Only trust it in this update, and leave {issuer_key} at {issued}",
        )
    for name in change.drops:
        if name == issued:
            yield Problem(
                key,
                _trusted(change),
                "A CA can be removed only when none of its certificates is in use; in the last update, "
                f"{name} issued them",
                "Let another CA issue the certificates first",
            )
    for name, certificate in change.after.items():
        known = change.before.get(name, certificate)
        if "" not in (known, certificate) and known != certificate:
            yield Problem(
                key,
                f"another certificate for {name}",
                "A CA must keep its certificate; another certificate means another CA",
                "Give the new CA another name, and trust both",
            )


def _quota(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """With a quota below the database size, the first member that restarts would raise the alarm NOSPACE."""
    used = change.before.database_bytes
    if change.after.quota_bytes < min(used, change.before.quota_bytes):
        yield Problem(
            spelled("quota"),
            f"{change.after.quota_bytes} bytes",
            f"The database had {used} bytes at the last health check; with a lower quota, etcd rejects all writes",
            "Set a higher one. Or compact and defragment, run pulumi up --replace '**-health' with the quota as it was "
            "(this measures the size again), then lower it",
        )


def _timing(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """During a rolling change, old and new timers are in use at once, and every pair must fit together."""
    before, after = change.before, change.after
    silent = max(before.heartbeat_ms, after.heartbeat_ms)
    patient = min(before.election_ms, after.election_ms)
    # An only member that restarts before others join has no follower that could start an election.
    alone = list(before.members) == change.chain[:1] and not change.leaving
    if alone or patient >= LEAST_BEATS * silent:
        return
    heartbeat, election = spelled("heartbeat_interval_ms"), spelled("election_timeout_ms")
    up = after.election_ms > before.election_ms
    yield Problem(
        heartbeat if up else election,
        str(after.heartbeat_ms if up else after.election_ms),
        f"During a rolling change, every election timeout in use must be at least {LEAST_BEATS} times every heartbeat "
        f"interval in use; here {patient} ms meet {silent} ms",
        f"Raise {election} first, then {heartbeat}" if up else f"Lower {heartbeat} first, then {election}",
    )


def _tls(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """During a rolling change, old and new settings are in use at once and need a TLS version in common."""
    (old_least, old_most), (least, most) = change.before.tls, change.after.tls
    alone = list(change.before.members) == change.chain[:1] and not change.leaving
    if alone or (old_least <= most and least <= old_most):
        return
    yield Problem(
        spelled("flags"),
        f"{least} to {most}",
        "During a rolling change, members must have a TLS version in common; the last update allowed only "
        f"{old_least} to {old_most}",
        f"Allow both for one update: tls-min-version TLS1.2, no tls-max-version, and {OURS} in any cipher-suites",
    )


def _volumes(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Data do not move by themselves: an empty volume would hide them, and a removed one takes them along."""
    before, after = change.before.on_volumes, change.after.on_volumes
    # Members that are exchanged for others can change to volumes, one after another.
    moved = any(other_place(change, name) for name in change.staying)
    if before != after and (moved or not change.membership):
        where = {True: "on volumes of their own", False: "on the disks of their machines"}
        yield Problem(
            spelled("members"),
            f"data {where[after]}",
            f"The data of a member must stay where they are; in the last update they were {where[before]}",
            "Set it back; data in another place need another cluster",
        )


def _authentication(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """A certificate that was issued for some keys must not silently become valid for all keys."""
    if change.before.users and not change.after.authentication:
        names = ", ".join(change.before.users)
        yield Problem(
            spelled("authentication"),
            "false",
            f"Without authentication, every certificate of the CA gives full access, and those of {names} remain valid "
            "until they expire",
            f"Remove them from {spelled('users')} first. Turn authentication off after their certificates have expired "
            "or their CA has been replaced",
        )


def _quorum(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Every step must leave a quorum, in the program's order, and every step back too.

    An interrupted run may be undone with the old configuration. When two members have been removed and the first of
    them has joined again, there are two voters, and neither could restart for a setting.
    """
    for way, kept in ((change, "Each step must leave a quorum"), (change.undone, "Each step of undoing it must, too")):
        for step in steps(way):
            if step.spare < 0 and not step.only_member:
                yield Problem(
                    spelled("members"),
                    ", ".join(change.after.members),
                    f"{kept}; this step would not: {step}",
                    "Put new members at the end of the list, or change the settings in a separate update",
                )
                return


_RULES: tuple[Callable[[Change, Spelled], Iterator[Problem]], ...] = (
    keeps_machines,
    _identity,
    _versions,
    _one_thing,
    _membership,
    _generations,
    _trust,
    _quota,
    _timing,
    _tls,
    _volumes,
    _authentication,
)


def _members(change: Change) -> str:
    said = [
        f"{verb} {', '.join(names)}" for names, verb in ((change.joining, "add"), (change.leaving, "remove")) if names
    ]
    return "; ".join(said)


def _authorities(change: Change, spelled: Spelled) -> tuple[str, str]:
    """Key and value of the first list of CAs that changes; by default, that of clients and servers."""
    found = next((each for each in change.trust if each.restarts or each.issues), change.trust[0])
    return spelled(found.authorities), _trusted(found)


def _trusted(change: Trust) -> str:
    return f"trusted {', '.join(change.after)}, issuer {change.issuers[1]}"
