"""Splits a change that one update cannot make into a sequence of updates."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from ..flag_values import OURS
from ..members import check_count
from ..versions import EtcdVersion, newest, parse, upgrade_floor
from . import migration
from .change import Change
from .rules import MOST_VOTERS, Spelled, check
from .state import ELECTION, HEARTBEAT, TLS_LEAST, TLS_MOST, TLS_SUITES, State

_T = TypeVar("_T")
_MOST = 24
"""More updates than any possible change needs."""


def updates(before: State, wanted: State) -> list[State]:
    """The states after each update; the last is the desired one. Empty when no sequence is known."""
    found: list[State] = []
    now = before
    while not now.same(wanted) and len(found) < _MOST:
        following = now
        for part in _PARTS:
            candidate = part(following, wanted)
            if not candidate.same(following) and not check(Change(now, candidate)):
                following = candidate
        if following.same(now):
            return []
        found.append(following)
        now = following
    return found if now.same(wanted) else []


def described(before: State, states: list[State], spelled: Spelled = str) -> list[str]:
    """What to set in each of these updates, one line per update."""
    return [
        "; ".join(_said(Change(earlier, later), spelled))
        for earlier, later in zip([before, *states], states, strict=False)
    ]


def _said(change: Change, spelled: Spelled) -> Iterator[str]:
    after = change.after
    if change.before.migration != after.migration:
        yield f"{spelled('migration')}.phase: {after.migration or 'none'}"
        return
    if change.restores:
        yield f"{spelled('restore')}.number: {after.restored}"
    if change.version:
        yield f"{spelled('version')}: {after.version}"
    yield from _said_of_image(change, spelled)
    if list(change.before.members) != list(after.members):
        yield f"{spelled('members')}: {', '.join(after.members)}"
    for name in change.replaced:
        yield f"{spelled('members')}.{name}.{spelled('generation')}: {after.generations[name]}"
    for each in change.trust:
        if each.restarts:
            yield f"{spelled(each.authorities)}: {', '.join(each.after)}"
        if each.issues:
            yield f"{spelled(each.issuer)}: {each.issuers[1]}"
    # Another release changes some flags by itself, but never the timers.
    if flags := [flag for flag in change.flags if not change.version or flag in (ELECTION, HEARTBEAT)]:
        yield f"the settings ({', '.join(flags)})"
    if change.before.users != after.users:
        yield f"{spelled('users')}: {', '.join(after.users) or 'none'}"
    if change.before.authentication != after.authentication:
        yield f"{spelled('authentication')}: {str(after.authentication).lower()}"
    if change.other_machine:
        yield f"the machine of {', '.join(change.other_machine)}"


def _said_of_image(change: Change, spelled: Spelled) -> Iterator[str]:
    if change.service_manager:
        yield f"{spelled('service_manager')}: {change.after.service_manager}"
    elif change.before.image != change.after.image:
        yield f"{spelled('etcd_image')}: that of {change.after.version}"


def _machines(now: State, wanted: State) -> State:
    """Other machines come first, because a replaced one may be missing."""
    return replace(now, identities={name: wanted.identities.get(name, known) for name, known in now.identities.items()})


def _version(now: State, wanted: State) -> State:
    """The next release of an upgrade or downgrade."""
    here, there = parse(now.version), parse(wanted.version)
    if here is None or there is None or here == there or here.major != there.major:
        return now
    if here.minor == there.minor:
        return replace(now, version=wanted.version)
    up = here.minor < there.minor
    floor = upgrade_floor(here.series)
    if up and floor is not None and here < floor:
        return replace(now, version=newest(here.series))
    following = EtcdVersion(here.major, here.minor + (1 if up else -1), 0).series
    floor = upgrade_floor(following)
    if there.series == following and (up or floor is None or there >= floor):
        return replace(now, version=wanted.version)
    return replace(now, version=newest(following))


def _image(now: State, wanted: State) -> State:
    """The service manager, or the image of its release."""
    return replace(now, image=wanted.image) if now.version == wanted.version else now


def _settings(now: State, wanted: State) -> State:
    """Flags change together with the release that they are for."""
    return replace(now, flags=wanted.flags) if now.version == wanted.version else now


def _timers_and_tls(now: State, wanted: State) -> State:
    """The flags, in a safe order.

    The election timeout rises before the heartbeat interval and falls after it; both TLS versions come before only the
    other one.
    """
    flags = {**wanted.flags}
    if now.tls[0] > wanted.tls[1] or wanted.tls[0] > now.tls[1]:
        flags.pop(TLS_MOST, None)
        flags[TLS_LEAST] = "TLS1.2"
        if OURS not in flags.get(TLS_SUITES, OURS).split(","):
            flags[TLS_SUITES] += f",{OURS}"
    for flag, waits in (
        (ELECTION, wanted.election_ms < now.election_ms),
        (HEARTBEAT, wanted.heartbeat_ms > now.heartbeat_ms),
    ):
        if waits:
            flags.pop(flag, None)
            flags |= {flag: now.flags[flag]} if flag in now.flags else {}
    return replace(now, flags=flags) if now.version == wanted.version else now


def _members(now: State, wanted: State) -> State:
    """All members; when some are removed, as many as one update can exchange."""
    joining = [name for name in wanted.members if name not in now.members]
    leaving = [name for name in now.members if name not in wanted.members]
    stay = [name for name in wanted.members if name in now.members]
    for join in range(min(len(joining), MOST_VOTERS - len(now.members)), -1, -1):
        for keep in range(0 if stay else 1, len(leaving) + 1):
            names = [*leaving[:keep], *(name for name in wanted.members if name in stay or name in joining[:join])]
            if not check_count(len(names), "") and names != list(now.members):
                return _with_members(now, wanted, names)
    return now


def _with_members(now: State, wanted: State, names: list[str]) -> State:
    def pick(of: Callable[[State], Mapping[str, _T]]) -> dict[str, _T]:
        both = {**of(wanted), **of(now)}
        return {name: both[name] for name in names if name in both}

    generations = {**wanted.generations, **now.generations}
    return replace(
        now,
        members=pick(lambda state: state.members),
        data_directories=pick(lambda state: state.data_directories),
        identities=pick(lambda state: state.identities),
        origins=pick(lambda state: state.origins),
        generations={name: generations[name] for name in names if name in generations},
    )


def _generation(now: State, wanted: State) -> State:
    """One machine replacement per update."""
    for name, generation in wanted.generations.items():
        if now.generations.get(name, generation) < generation:
            origins = {**now.origins, **({name: wanted.origins[name]} if name in wanted.origins else {})}
            return replace(now, generations={**now.generations, name: generation}, origins=origins)
    return now


def _trust(now: State, wanted: State) -> State:
    peers = {**now.peer_trusted, **wanted.peer_trusted}
    return replace(now, trusted={**now.trusted, **wanted.trusted}, peer_trusted=peers)


def _issue(now: State, wanted: State) -> State:
    return replace(now, issuer=wanted.issuer, peer_issuer=wanted.peer_issuer)


def _drop(now: State, wanted: State) -> State:
    trusted = wanted.trusted if now.issuer == wanted.issuer else now.trusted
    peers = wanted.peer_trusted if now.peer_issuer == wanted.peer_issuer else now.peer_trusted
    return replace(now, trusted=trusted, peer_trusted=peers)


def _users(now: State, wanted: State) -> State:
    """Users and authentication. Nobody can say when it can be turned off after users: their certificates expire."""
    off = bool(now.users) and not wanted.authentication
    return now if off else replace(now, users=wanted.users, authentication=wanted.authentication)


def _restore(now: State, wanted: State) -> State:
    """A restore, after everything else."""
    candidate = replace(wanted, serial=now.serial)
    return candidate if wanted.restored > now.restored else now


def _rest(now: State, wanted: State) -> State:
    """What no rule restricts."""
    done = replace(now, identities=wanted.identities, data_directories=wanted.data_directories, trusted=wanted.trusted)
    done = replace(done, peer_trusted=wanted.peer_trusted)
    done = replace(done, generations=wanted.generations, members=wanted.members, on_volumes=wanted.on_volumes)
    done = replace(done, origins=wanted.origins)
    done = done if wanted.restored > now.restored else replace(done, restored=wanted.restored)
    return wanted if done.same(wanted) else now


_PARTS: tuple[Callable[[State, State], State], ...] = (
    migration.following,
    _machines,
    _version,
    _image,
    _settings,
    _timers_and_tls,
    _members,
    _generation,
    _trust,
    _issue,
    _drop,
    _users,
    _rest,
    _restore,
)
