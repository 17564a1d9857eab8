"""The steps of a change in the order of the program, with the quorum during each."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ...node.machine.measured import SLOW_DISK
from .. import drift
from ..migration import BACK, LEAVE
from ..quorum import quorum
from . import migration
from .change import Change
from .slow import accepted
from .state import State

_PRINTED = re.compile(
    r"(?P<text>.+) \[(?:(?P<only>the only voter)|(?:(?P<serving>\d+) of )?(?P<voters>\d+) voters?)[^\[\]]*\]", re.ASCII
)


@dataclass(frozen=True)
class Step:
    """One step and how many failures the cluster tolerates meanwhile."""

    text: str
    """What happens."""
    voters: int
    """Voters in the cluster after the step."""
    serving: int
    """How many of them run during the step."""

    @property
    def spare(self) -> int:
        """How many more voters may fail during this step; below 0: there is no quorum."""
        return self.serving - quorum(self.voters) if self.voters else -1

    @property
    def only_member(self) -> bool:
        """The only member is not running: the cluster is unavailable meanwhile, but nothing can be lost."""
        return self.voters == 1 and self.serving == 0

    @classmethod
    def read(cls, printed: str) -> "Step | None":
        """The step that is printed so; None if none is."""
        found = _PRINTED.fullmatch(printed)
        if found is None:
            return None
        voters = int(found["voters"] or 1)
        step = cls(found["text"], voters, 0 if found["only"] else int(found["serving"] or voters))
        return step if str(step) == printed else None

    def __str__(self) -> str:
        if self.only_member:
            return f"{self.text} [the only voter: unavailable meanwhile]"
        count = "1 voter" if self.voters == 1 else f"{self.voters} voters"
        if self.serving < self.voters:
            return f"{self.text} [{self.serving} of {count} running, {_spare(self.spare, 'further ')}]"
        return f"{self.text} [{count}, {_spare(self.spare)}]"


def _spare(spare: int, further: str = "") -> str:
    if spare < 0:
        return "no quorum"
    return f"tolerates {spare or 'no'} {further}failure{'s' if spare > 1 else ''}"


def bootstrap(wanted: State, acknowledge: Collection[str] = ()) -> list[Step]:
    """The steps of the first update.

    Args:
        acknowledge: what is accepted of slow machines, as in `plan.acknowledge`.
    """
    names, count = _names(wanted.members), len(wanted.members)
    slow = accepted(acknowledge, wanted.members, wanted.members)
    return [
        Step(f"prepare {names}: no member starts yet{slow}", count, count),
        Step(f"bootstrap a new cluster of {names}", count, count),
        Step("check the health of all members", count, count),
        *(Step(text, count, count) for text in access({}, wanted, was=False)),
        *_asked(wanted.data_directories if wanted.drift_check else (), count),
    ]


def steps(change: Change, acknowledge: Collection[str] = ()) -> list[Step]:
    """The steps from one state to the next, in order; empty when nothing changes.

    Args:
        acknowledge: as for `bootstrap`.
    """
    if change.before.same(change.after):
        return list(_settled(change))
    if change.restores:
        begun = restored(change.after, acknowledge, change.other_machine)
        return [*begun, *_look(change, len(change.after.members))]
    return list(_back(change) if change.after.migration == BACK else _steps(change, acknowledge))


def _settled(change: Change) -> Iterator[Step]:
    """The steps when the configuration is as it was: what others have changed."""
    count = len(change.after.members)
    if change.put_right:
        yield Step(f"prepare {_names(change.put_right)}: no member stops", count, count)
    for name in change.chain:
        yield from _as_wanted(change, name, count, count)
    if change.put_right:
        yield Step("check the health of all members", count, count)
    yield from _look(change, count)


def _as_wanted(change: Change, name: str, voters: int, serving: int) -> Iterator[Step]:
    """What a member that stays needs: new settings, or what others have changed."""
    found = change.put_right.get(name, "")
    if change.reasons:
        yield Step(f"{name} restarts: {'; '.join(change.reasons)}", voters, serving - 1)
    elif found:
        down = drift.restarts(found)
        how = "restarts" if down else "does not restart"
        yield Step(f"{name} {how}, and is put right: {found.partition(': ')[2]}", voters, serving - down)


def _look(change: Change, voters: int) -> Iterator[Step]:
    yield from _asked(change.looks, voters)


def _asked(names: Collection[str], voters: int) -> Iterator[Step]:
    if names:
        yield Step(f"look for what others have changed on {_names(names)}", voters, voters)


def restored(wanted: State, acknowledge: Collection[str] = (), new: Collection[str] = ()) -> list[Step]:
    """The steps of a restore.

    Args:
        acknowledge: as for `bootstrap`.
        new: members on machines that may have none yet.
    """
    names, count = _names(wanted.members), len(wanted.members)
    # With data from the snapshot, no member joins: links are not measured.
    slow = accepted({*acknowledge} & {SLOW_DISK}, new, wanted.members)
    snapshot = wanted.restores or wanted.restored_from
    return [
        Step(f"prepare {names}: no member stops{slow}", count, count),
        Step(f"restore {snapshot} beside the data of {names}, after a check: no member stops", count, count),
        Step("all members stop: EVERYTHING WRITTEN AFTER THE SNAPSHOT IS LOST", count, 0),
        Step("old data are moved aside, the restored data take their place", count, 0),
        Step(f"a new cluster of {names} starts, with revisions that no client has seen", count, count),
        Step("check the health of all members", count, count),
        Step("API servers: nothing to do; their watches end as compacted, and they list again", count, count),
        *(Step(text, count, count) for text in access({}, wanted, was=False)),
    ]


def _back(change: Change) -> Iterator[Step]:
    """The way back from a migration: by a control plane, because no member of ours stays."""
    voters = len(change.before.members)
    yield from (Step(text, voters, voters) for text in migration.first(change))
    for name in reversed(change.leaving):
        voters -= 1
        yield Step(f"{name} is removed; a leader is removed last", voters, voters)
    yield Step("check the health of all members", voters, voters)
    for name in (each for each in change.leaving if each not in change.before.control_planes):
        yield Step(f"retire the machine of {name}", voters, voters)


def _steps(change: Change, acknowledge: Collection[str]) -> Iterator[Step]:
    voters = len(change.before.members)
    missing = len(change.replaced)
    yield from (Step(text, voters, voters - missing) for text in migration.first(change))
    for name in change.replaced:
        yield Step(f"replace the machine of {name} once all others are healthy", voters, voters - missing)
    ours = [name for name in change.after.members if name not in change.after.control_planes]
    slow = accepted(acknowledge, [name for name in ours if name in change.new_machines], ours)
    yield Step(f"prepare {_names(ours)}: no member stops{slow}", voters, voters - missing)
    if change.version:
        first = change.chain[0]
        yield Step(f"save a snapshot of the data on the machine of {first}", voters, voters - missing)
    if change.minors < 0:
        yield Step(f"enable the downgrade to etcd {change.versions[1].series}", voters, voters)
    leaving = list(change.leaving)
    leader_last = "; a leader is removed last" if len(leaving) > 1 else ""
    # With the first stacked member goes the way back.
    point = " (from here on there is no way back)" if change.after.migration == LEAVE else ""
    for name in change.chain:
        if name in change.joining:
            yield Step(f"{name} joins as a learner", voters, voters - missing)
            voters += 1
            yield Step(f"{name} is promoted to voter", voters, voters - missing)
            continue
        while leaving:
            voters -= 1
            yield Step(f"{leaving.pop()} is removed{leader_last}{point}", voters, voters - missing)
            point = ""
        if name in change.replaced and change.keeps_volumes:
            missing -= 1
            yield Step(f"{name} restarts with its data", voters, voters - missing)
        elif name in change.replaced:
            # Between removal and join the cluster is smaller by one, and all its members run.
            missing -= 1
            yield Step(f"the old member {name} is removed", voters - 1, voters - 1 - missing)
            yield Step(f"{name} joins again and is promoted to voter", voters, voters - missing)
        elif name in change.other_machine:
            yield Step(f"{name} is checked: it joins again if its disk is empty", voters, voters - missing)
        if name not in change.replaced:
            yield from _as_wanted(change, name, voters, voters - missing)
    for text in _issued(change):
        yield Step(text, voters, voters)
    yield Step("check the health of all members", voters, voters)
    yield from (Step(text, voters, voters) for text in migration.last(change))
    texts = access(change.before.users, change.after, was=change.before.authentication)
    yield from (Step(text, voters, voters) for text in texts)
    yield from _look(change, voters)
    for name in (each for each in change.leaving if each not in change.before.control_planes):
        yield Step(f"retire the machine of {name}", voters, voters)


def _issued(change: Change) -> Iterator[str]:
    for each in change.trust:
        if each.issues:
            whose = f"the certificates of {each.whose}" if each.whose else "all certificates"
            yield f"CA {each.issuers[1]} issues {whose}: members reload them without a restart"


def access(before: Mapping[str, str], after: State, *, was: bool) -> Iterator[str]:
    """The steps for etcd's users; authentication is turned on last and off first.

    Args:
        before: the users before: name -> permission and prefix.
        after: the desired state.
        was: whether authentication was on.
    """
    if was and not after.authentication:
        yield "turn authentication off: every certificate of the CAs, also of a former user, gives full access"
    for name in before:
        if name not in after.users:
            yield f"remove user {name}: its certificate loses all access"
    for name, keys in after.users.items():
        if before.get(name) != keys:
            yield f"grant user {name}: {keys}" + (f" (before: {before[name]})" if name in before else "")
    if after.authentication and not was:
        yield (
            "turn authentication on: API servers and this program are root, each user has its own keys, all other "
            "certificates have no access"
        )


def _names(members: Iterable[str]) -> str:
    return ", ".join(members)
