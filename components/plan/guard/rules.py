"""What cannot be done in one update, and why. Each rule is a function of the change alone."""

from collections.abc import Callable, Iterator

from ..addresses import MAX_MEMBERS
from ..errors import Problem, shown
from ..flag_values import OURS
from ..flags import LEAST_BEATS
from ..generations import check_generations
from ..versions import newest, upgrade_floor
from .change import Change, Trust
from .origins import elsewhere, keeps_machines, other_place
from .steps import steps

Spelled = Callable[[str], str]
"""The user's spelling of an argument of `EtcdCluster`."""

MOST_VOTERS = MAX_MEMBERS + 1
"""So many at a time, while one joins for another that leaves."""


def check(change: Change, spelled: Spelled = str) -> list[Problem]:
    """Every reason why this change cannot be made in one update; empty when it can.

    Args:
        change: from what the last update left to what is wanted.
        spelled: the user's spelling of an argument of `EtcdCluster`, for the keys of the problems.
    """
    problems = [problem for rule in _RULES for problem in rule(change, spelled)]
    # The steps mean something only for a change that follows the rules.
    return problems or list(_quorum(change, spelled))


def _identity(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """What a cluster and its members keep for life."""
    before, after = change.before, change.after
    if before.cluster != after.cluster:
        yield Problem(
            spelled("cluster_name"),
            shown(after.cluster),
            f"A cluster keeps its name; in the last update it was {before.cluster!r}",
            f"Set it back to {before.cluster}; another cluster is another stack",
        )
    for index, name in enumerate(after.members):
        if name not in before.members:
            continue
        at = f"{spelled('members')}[{index}]"
        # With another network or platform it would be another machine, which is said once.
        if after.members[name] != before.members[name] and not elsewhere(change, name):
            yield Problem(
                f"{at}.{spelled('address')}",
                shown(after.members[name]),
                f"A member keeps its address; that of {name} was {before.members[name]} in the last update",
                f"Set it back to {before.members[name]}, or give the member at the new address another name: it joins, "
                f"and {name} leaves",
            )
        if after.data_directories.get(name) != before.data_directories.get(name):
            yield Problem(
                f"{at}.{spelled('data_directory')}",
                shown(after.data_directories.get(name)),
                f"A member keeps its data directory; that of {name} was {before.data_directories.get(name)} in the "
                "last update",
                "Set it back; a member of another name can have another one",
            )


def _versions(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Etcd's own rules for upgrades and downgrades."""
    before, after = change.versions
    key, value = spelled("version"), shown(change.after.version)
    if abs(change.minors) > 1:
        way = "up" if change.minors > 0 else "down"
        yield Problem(
            key,
            value,
            f"etcd goes {way} one minor version at a time, and the last update left {before}",
            f"Take the minors between {before.series} and {after.series} one after another",
        )
    floor = upgrade_floor(before.series)
    if change.minors > 0 and floor is not None and before < floor:
        yield Problem(
            key,
            value,
            f"Every member needs at least {floor} before the next minor version, and the last update left {before}",
            f"Set it to {newest(before.series)} first",
        )
    floor = upgrade_floor(after.series)
    if change.minors < 0 and floor is not None and after < floor:
        yield Problem(
            key,
            value,
            f"etcd goes back only to where a way leads forward again, which takes at least {floor}, and the last "
            f"update left {before}",
            f"Set it to {newest(after.series)} first",
        )


def _one_thing(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """What is not done together: where one of the two fails half-way, the other must not be half-way too."""
    kinds = {
        "version": (change.version, spelled("version"), shown(change.after.version)),
        "members": (change.membership, spelled("members"), _members(change)),
        "machines that are replaced": (bool(change.replaced), spelled("generation"), ", ".join(change.replaced)),
        "authorities": (change.authorities, *_authorities(change, spelled)),
    }
    present = [(name, key, value) for name, (here, key, value) in kinds.items() if here]
    for name, key, value in present[1:]:
        yield Problem(
            key,
            value,
            f"One update changes the {present[0][0]} or the {name}, not both",
            "Make two updates of it",
        )
    if change.replaced and change.flags and not change.version:
        yield Problem(
            spelled("generation"),
            ", ".join(change.replaced),
            f"While the machine of {change.replaced[0]} is replaced no other member restarts, and "
            f"{', '.join(change.flags)} would restart all",
            "Make two updates of it",
        )


def _membership(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Who joins joins first, who leaves leaves afterwards, and somebody who knows the cluster stays."""
    key, value = spelled("members"), _members(change)
    if not change.staying:
        yield Problem(
            key,
            value,
            "A member that stays lets the others leave, and none would stay",
            "Keep one of them for the first update; a cluster of one grows to three first",
        )
    if change.leaving and change.other_machine:
        yield Problem(
            key,
            value,
            f"While members leave all others are there, and another machine fills {', '.join(change.other_machine)}",
            "Make two updates of it, that machine first",
        )
    most = len(change.before.members) + len(change.joining)
    if most > MOST_VOTERS:
        yield Problem(
            key,
            value,
            f"Whoever joins does so before the others leave, and {most} voters at a time are more than {MOST_VOTERS}",
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
                f"{name} joins before {taken[address]} leaves, whose address it is",
                f"Keep the name {taken[address]} at this address, or give {name} a machine with another one",
            )


def _generations(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Machines are replaced one at a time, and only while the others carry the cluster."""
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
            "The data of a cluster of one member are on its machine's disk alone, and would go with it",
            "Let the cluster grow to 3 members first, or take a snapshot, destroy it, and make it anew",
        )


def _trust(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Another authority in three updates: trust both, issue by the new one, drop the old one."""
    for each in change.trust:
        yield from _trust_of(each, spelled)


def _trust_of(change: Trust, spelled: Spelled) -> Iterator[Problem]:
    key, issuer_key = spelled(change.authorities), spelled(change.issuer)
    issued, issues = change.issuers
    if issues not in change.after:
        rule = f"Who issues is trusted: {', '.join(change.after)}"
        yield Problem(issuer_key, shown(issues), rule, "Add it, or set another one")
    if issues not in change.before:
        yield Problem(
            issuer_key,
            shown(issues),
            "An authority issues when every member and every client has trusted it for an update; in the last one they "
            f"trusted {', '.join(change.before)}",
            f"Trust it first: leave {issuer_key} at {issued}",
        )
    for name in change.drops:
        if name == issued:
            yield Problem(
                key,
                _trusted(change),
                "An authority is dropped when none of its certificates is in use, and in the last update "
                f"{name} issued them",
                "Let another one issue first",
            )
    for name, certificate in change.after.items():
        known = change.before.get(name, certificate)
        if "" not in (known, certificate) and known != certificate:
            yield Problem(
                key,
                f"another certificate for {name}",
                "An authority keeps its certificate; another certificate is another authority",
                "Give the new one another name, and trust both",
            )


def _quota(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Below the size of the database, the first member that restarts would end all writes with the alarm NOSPACE."""
    used = change.before.database_bytes
    if change.after.quota_bytes < min(used, change.before.quota_bytes):
        yield Problem(
            spelled("quota"),
            f"{change.after.quota_bytes} bytes",
            f"The database had {used} bytes at the last health check, and with a lower quota etcd takes no more writes",
            "Set a higher one; or compact and defragment, run pulumi up --replace '**-health' with the quota as it was "
            "(it asks for the size anew), and lower it then",
        )


def _timing(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Who waits shorter than the leader is silent elects another one: between members as within one."""
    before, after = change.before, change.after
    silent = max(before.heartbeat_ms, after.heartbeat_ms)
    patient = min(before.election_ms, after.election_ms)
    # The only member has nobody who waits when it restarts before anybody joins.
    alone = list(before.members) == change.chain[:1] and not change.leaving
    if alone or patient >= LEAST_BEATS * silent:
        return
    heartbeat, election = spelled("heartbeat_interval_ms"), spelled("election_timeout_ms")
    up = after.election_ms > before.election_ms
    yield Problem(
        heartbeat if up else election,
        str(after.heartbeat_ms if up else after.election_ms),
        f"Members restart one after another, and meanwhile some wait {patient} ms for a leader that may be silent for "
        f"{silent} ms; an election timeout is at least {LEAST_BEATS} heartbeat intervals",
        f"Raise {election} first, then {heartbeat}" if up else f"Lower {heartbeat} first, then {election}",
    )


def _tls(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """While members restart one after another, those of before and those of afterwards speak one version of TLS."""
    (old_least, old_most), (least, most) = change.before.tls, change.after.tls
    alone = list(change.before.members) == change.chain[:1] and not change.leaving
    if alone or (old_least <= most and least <= old_most):
        return
    yield Problem(
        spelled("flags"),
        f"TLS from {least} to {most}",
        f"Members restart one after another, and until the last one has, some speak TLS from {old_least} to {old_most}",
        f"Allow both for an update: tls-min-version TLS1.2, no tls-max-version, and {OURS} among any cipher-suites",
    )


def _volumes(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """Data do not move by themselves: an empty volume would hide them, and one that is taken away has them."""
    before, after = change.before.on_volumes, change.after.on_volumes
    # Members that exchange their names may bring volumes along, one after another.
    moved = any(other_place(change, name) for name in change.staying)
    if before != after and (moved or not change.membership):
        where = {True: "on volumes of their own", False: "on the disks of their machines"}
        yield Problem(
            spelled("members"),
            f"data {where[after]}",
            f"The data of a member stay where they are; in the last update they were {where[before]}",
            "Set it back; another place is another cluster",
        )


def _authentication(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """A certificate that was made for some keys does not become one for all of them by the way."""
    if change.before.users and not change.after.authentication:
        names = ", ".join(change.before.users)
        yield Problem(
            spelled("authentication"),
            "false",
            f"Without authentication every certificate of the CA can do everything, and those of {names} remain valid "
            "until they expire",
            f"Take them off {spelled('users')} first; turn it off when their certificates have expired, or when their "
            "CA has been replaced",
        )


def _quorum(change: Change, spelled: Spelled) -> Iterator[Problem]:
    """No step is without a quorum, in the order in which the program takes them; nor on the way back.

    A run that is killed may be taken back by the old wish. Where two members have left, it finds two voters when the
    first of them has come again, and neither could restart for a setting then.
    """
    for way, kept in ((change, "Each step leaves a quorum"), (change.undone, "Each step of taking it back does, too")):
        for step in steps(way):
            if step.spare < 0 and not step.only_member:
                yield Problem(
                    spelled("members"),
                    ", ".join(change.after.members),
                    f"{kept}; this one would not: {step}",
                    "Put new members at the end of the list, or change the settings in an update of their own",
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
        f"{', '.join(names)} {verb}" for names, verb in ((change.joining, "join"), (change.leaving, "leave")) if names
    ]
    return " and ".join(said)


def _authorities(change: Change, spelled: Spelled) -> tuple[str, str]:
    """Key and value of what changes in the lists of authorities; those of clients and servers where nothing does."""
    found = next((each for each in change.trust if each.restarts or each.issues), change.trust[0])
    return spelled(found.authorities), _trusted(found)


def _trusted(change: Trust) -> str:
    return f"trusted {', '.join(change.after)}, issuer {change.issuers[1]}"
