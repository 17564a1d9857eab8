"""The steps of a change, as the program does them, with the quorum at each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..quorum import quorum
from .change import Change
from .state import State


@dataclass(frozen=True)
class Step:
    """One step and how many may be lost while it is done."""

    text: str
    """What happens."""
    voters: int
    """Voters that the cluster has when it has happened."""
    serving: int
    """How many of them run meanwhile."""

    @property
    def spare(self) -> int:
        """How many more voters may be lost during this step; below 0: there is no quorum."""
        return self.serving - quorum(self.voters)

    @property
    def only_member(self) -> bool:
        """The one member of its cluster is not running: it does not answer, and nothing can be lost by that."""
        return self.voters == 1 and self.serving == 0

    def __str__(self) -> str:
        if self.only_member:
            return f"{self.text} [the only voter: no answer meanwhile]"
        count = "1 voter" if self.voters == 1 else f"{self.voters} voters"
        if self.serving < self.voters:
            return f"{self.text} [{self.serving} of {count} serve, {_spare(self.spare, ' more')}]"
        return f"{self.text} [{count}, {_spare(self.spare)}]"


def _spare(spare: int, more: str = "") -> str:
    return "no quorum" if spare < 0 else f"{spare or 'none'}{more} may be lost"


def bootstrap(wanted: State) -> list[Step]:
    """The steps of a first update."""
    names, count = _names(wanted.members), len(wanted.members)
    return [
        Step(f"prepare {names}: nothing starts", count, count),
        Step(f"start {names} together as a new cluster", count, count),
        Step("check the health of all members", count, count),
        *(Step(text, count, count) for text in access({}, wanted, was=False)),
    ]


def steps(change: Change) -> list[Step]:
    """The steps from one state to the next, in their order; no step when nothing changes."""
    if change.before.same(change.after):
        return []
    return list(_steps(change))


def _steps(change: Change) -> Iterator[Step]:
    voters = len(change.before.members)
    missing = len(change.replaced)
    for name in change.replaced:
        yield Step(f"replace the machine of {name} when all others are healthy", voters, voters - missing)
    yield Step(f"prepare {_names(change.after.members)}: nothing stops", voters, voters - missing)
    if change.version:
        first = change.chain[0]
        yield Step(f"keep a snapshot of the data on the machine of {first}", voters, voters - missing)
    if change.minors < 0:
        yield Step(f"enable etcd's downgrade to {change.versions[1].series}", voters, voters)
    leaving = list(change.leaving)
    for name in change.chain:
        if name in change.joining:
            yield Step(f"{name} joins as a learner", voters, voters - missing)
            voters += 1
            yield Step(f"{name} becomes a voter", voters, voters - missing)
            continue
        while leaving:
            voters -= 1
            yield Step(f"{leaving.pop()} leaves; the leader last", voters, voters - missing)
        if name in change.replaced and change.before.on_volumes and change.after.on_volumes:
            missing -= 1
            yield Step(f"{name} comes back with its data", voters, voters - missing)
        elif name in change.replaced:
            # Its entry goes, and comes again: in between the cluster is smaller by one, and everybody in it runs.
            missing -= 1
            yield Step(f"the entry of {name} leaves", voters - 1, voters - 1 - missing)
            yield Step(f"{name} joins anew and becomes a voter", voters, voters - missing)
        elif name in change.other_machine:
            yield Step(f"{name} is looked at: it joins anew if its disk is empty", voters, voters - missing)
        if change.reasons and name not in change.replaced:
            yield Step(f"{name} restarts: {'; '.join(change.reasons)}", voters, voters - missing - 1)
    for text in _issued(change):
        yield Step(text, voters, voters)
    yield Step("check the health of all members", voters, voters)
    texts = access(change.before.users, change.after, was=change.before.authentication)
    yield from (Step(text, voters, voters) for text in texts)
    for name in change.leaving:
        yield Step(f"retire the machine of {name}", voters, voters)


def _issued(change: Change) -> Iterator[str]:
    for each in change.trust:
        if each.issues:
            whose = f"the certificates of {each.whose}" if each.whose else "all certificates"
            yield f"{whose} are issued by {each.issuers[1]}: read again without a restart"


def access(before: Mapping[str, str], after: State, *, was: bool) -> Iterator[str]:
    """What becomes of etcd's users, and of authentication, which is turned on last and off first.

    Args:
        before: the users that there were.
        after: what is wanted.
        was: whether authentication was on.
    """
    if was and not after.authentication:
        yield "turn authentication off: every certificate of the CAs can do everything, also those of former users"
    for name in before:
        if name not in after.users:
            yield f"remove the user {name}: its certificate reaches no key any more"
    for name, keys in after.users.items():
        if before.get(name) != keys:
            yield f"the user {name} gets: {keys}" + (f", instead of: {before[name]}" if name in before else "")
    if after.authentication and not was:
        yield (
            "turn authentication on: root for API servers and this program, its keys for each user; every other "
            "certificate reaches nothing"
        )


def _names(members: Iterable[str]) -> str:
    return ", ".join(members)
