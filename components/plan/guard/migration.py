"""A migration in the guard: which phase may follow which, and its steps besides those of a change of members."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..errors import Problem, shown
from ..migration import AUTHORITY, BACK, DONE, JOIN, LEAVE, PHASES, SWITCH
from .change import Change
from .state import OF_DRIFT, State

STACKED = "stacked"
"""The phase before the first update: a cluster of the stacked members alone."""
_NEXT = {
    STACKED: (BACK, JOIN),
    JOIN: (JOIN, BACK, SWITCH),
    SWITCH: (SWITCH, JOIN, LEAVE),
    LEAVE: (LEAVE, DONE),
    DONE: (DONE, ""),
    "": ("",),
}
"""Phase -> the phases that may follow; empty: no migration."""
_MOVES = (
    *("migration", "members", "data_directories", "origins", "generations", "identities", "serial", "overridden"),
    *OF_DRIFT,
)
"""What may differ from phase to phase. The members have rules of their own."""


def unmigrated(wanted: State) -> State:
    """The cluster before the first update of a migration: only the stacked members, otherwise as desired."""
    alone = replace(wanted, members=dict(wanted.control_planes), data_directories={}, origins={}, generations={})
    return replace(alone, migration=STACKED, identities={})


def check_phase(change: Change, spelled: Callable[[str], str]) -> Iterator[Problem]:
    """Why this phase must not follow, or not together with what else changes."""
    before, after = change.before.migration, change.after.migration
    key = f"{spelled('migration')}.phase"
    if after not in _NEXT[before]:
        yield Problem(key, shown(after or None), *_refusal(before, after))
        return
    if before == DONE and not after and AUTHORITY in {*change.after.trusted, *change.after.peer_trusted}:
        yield Problem(
            spelled("migration"),
            "nothing",
            f"The cluster still trusts the CA {AUTHORITY}, which the migration keeps",
            f"Leave it at phase: {DONE}, until that CA is replaced",
        )
    if before in ("", DONE) or before == STACKED:
        return
    planes = change.after.control_planes.items()
    others = [name for name in vars(change.after) if name not in _MOVES and name != "database_bytes"]
    changed = [name for name in others if getattr(change.before, name) != getattr(change.after, name)]
    if after == BACK:
        # The control plane that removes our members would take one that is not listed for one of them.
        changed = [name for name in changed if name == "control_planes"]
    elif (before, after) != (SWITCH, JOIN) and planes <= change.before.control_planes.items():
        # Some are given up, which `inspect` refuses while they have a node; or none is needed any more. On the way
        # back, `inspect` asks less of them.
        changed = [name for name in changed if name != "control_planes"]
    if after != BACK and _own(change.before) != _own(change.after):
        changed.append("members")
    if changed:
        yield Problem(
            key,
            shown(after),
            f"During a migration nothing else can change; here also: {', '.join(spelled(name) for name in changed)}",
            f"Set it back as it was until the phase is {DONE}",
        )


def _own(state: State) -> list[str]:
    """The members that stay after the migration, in order."""
    return [name for name in state.members if name not in state.control_planes]


def _refusal(before: str, after: str) -> tuple[str, str]:
    """Rule and remedy."""
    if not before:
        rule = "A migration begins with a new stack; this one has a cluster already"
        return rule, "Remove it, or use another stack for the migration"
    if not after:
        return "A migration must be completed", f"Set the phase {', '.join(_NEXT[before])}"
    if before in (LEAVE, DONE):
        rule = f"The stacked members have left the cluster in the phase {LEAVE}: there is no way back from it"
        return rule, f"Set the phase {_NEXT[before][-1] or DONE}"
    last = "no phase is complete yet" if before == STACKED else f"the last complete phase is {before}"
    rule = f"The phases {', '.join(PHASES)} are one update each; {last}"
    return rule, f"Set the phase {_NEXT[before][-1]}"


def first(change: Change) -> Iterator[str]:
    """What happens before any member changes."""
    phase, planes = change.after.migration, ", ".join(change.after.control_planes)
    if phase not in ("", DONE):
        for name in (each for each in change.before.control_planes if each not in change.after.control_planes):
            yield f"the control plane {name} is given up: its node and its machine must be gone for good"
    if phase != DONE and planes:
        yield f"inspect the control planes {planes}: nothing changes"
    if (change.before.migration, phase) == (STACKED, JOIN):
        yield f"read the CA of etcd from {next(iter(change.after.control_planes))}: it becomes the CA {AUTHORITY}"
        yield f"save a snapshot of the data on the machines of {' and '.join(_own(change.after)[:2])}"


def last(change: Change) -> Iterator[str]:
    """What happens when all members are healthy."""
    phase, planes, own = change.after.migration, change.after.control_planes, ", ".join(_own(change.after))
    if phase == SWITCH:
        for name in planes:
            yield f"the API server of {name} restarts with the members {own}, while all others serve"
    if (change.before.migration, phase) == (SWITCH, JOIN):
        for name in planes:
            yield f"the API server of {name} restarts with its stacked member, while all others serve"
    if phase == LEAVE:
        for name in planes:
            yield f"the manifest of etcd on {name} is moved aside; its data stay"
        yield "kubeadm-config names the external etcd"
    if phase == DONE and change.before.migration == LEAVE:
        yield f"remove etcd-node from {', '.join(change.before.control_planes)}"


def following(now: State, wanted: State) -> State:
    """The next phase on the way to the desired one."""
    if now.migration == wanted.migration or wanted.migration not in PHASES:
        return now
    phases = [STACKED, *PHASES]
    here, there = phases.index(now.migration or STACKED), phases.index(wanted.migration)
    phase = phases[here + (1 if there > here else -1)]
    if phase in (LEAVE, DONE):
        members = {name: address for name, address in wanted.members.items() if name not in now.control_planes}
    else:
        members = {**wanted.members, **now.control_planes}
    directories = {**now.data_directories, **wanted.data_directories}
    moved = replace(now, migration=phase, members=members, data_directories=directories, origins=wanted.origins)
    return replace(moved, generations=wanted.generations, identities=wanted.identities)
