"""The difference between two states, in the terms in which rules and steps are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..versions import EtcdVersion, parse
from .state import State


@dataclass(frozen=True)
class Trust:
    """One list of authorities and who issues, before and after."""

    authorities: str
    """The argument of `EtcdCluster` that is the list."""
    issuer: str
    """The argument of `EtcdCluster` that names who issues."""
    whose: str
    """Of what they are, in words; empty where there is one list for all."""
    before: Mapping[str, str]
    after: Mapping[str, str]
    issuers: tuple[str, str]

    @property
    def trusts(self) -> list[str]:
        """Authorities that are trusted anew."""
        return [name for name in self.after if name not in self.before]

    @property
    def drops(self) -> list[str]:
        """Authorities that are not trusted any more."""
        return [name for name in self.before if name not in self.after]

    @property
    def restarts(self) -> bool:
        """Whether others are trusted: etcd reads them only when it starts."""
        return bool(self.trusts or self.drops)

    @property
    def issues(self) -> bool:
        """Whether another authority issues."""
        return self.issuers[0] != self.issuers[1]


@dataclass(frozen=True)
class Change:
    """From what the last update left to what is wanted."""

    before: State
    after: State

    @property
    def undone(self) -> "Change":
        """The way back."""
        return Change(self.after, self.before)

    @cached_property
    def joining(self) -> list[str]:
        """Members that are new, in their order."""
        return [name for name in self.after.members if name not in self.before.members]

    @cached_property
    def leaving(self) -> list[str]:
        """Members that go, in their order."""
        return [name for name in self.before.members if name not in self.after.members]

    @cached_property
    def staying(self) -> list[str]:
        """Members that stay, in the new order."""
        return [name for name in self.after.members if name in self.before.members]

    @cached_property
    def chain(self) -> list[str]:
        """The order in which members are converged: the list's, but whoever joins goes first when others leave.

        The first member that was there before takes those out that leave; until then everybody has joined. Before them
        all go the slots that have another machine: no member restarts while one is missing, so in the list's order a
        setting that is changed in the same update would wait for a slot that waits for the setting.
        """
        order = [*self.joining, *self.staying] if self.leaving else list(self.after.members)
        missing = {*self.replaced, *self.other_machine}
        return sorted(order, key=lambda name: name not in missing)

    @cached_property
    def replaced(self) -> list[str]:
        """Slots whose machine is replaced on purpose."""
        before, after = self.before.generations, self.after.generations
        both = (name for name in self.staying if name in before and name in after)
        return [name for name in both if after[name] > before[name]]

    @cached_property
    def other_machine(self) -> list[str]:
        """Slots of which the configuration says that another machine fills them."""
        both = (name for name in self.staying if name in self.before.identities and name in self.after.identities)
        return [name for name in both if self.before.identities[name] != self.after.identities[name]]

    @cached_property
    def trust(self) -> tuple[Trust, ...]:
        """The lists of authorities: one where peers have and had the same as all others."""
        before, after = self.before, self.after
        shared = all(
            (state.peer_trusted, state.peer_issuer) == (state.trusted, state.issuer) for state in (before, after)
        )
        issuers = before.issuer, after.issuer
        all_others = Trust(
            "authorities", "issuer", "" if shared else "clients and servers", before.trusted, after.trusted, issuers
        )
        if shared:
            return (all_others,)
        issuers = before.peer_issuer, after.peer_issuer
        peers = Trust("peer_authorities", "peer_issuer", "peers", before.peer_trusted, after.peer_trusted, issuers)
        return all_others, peers

    @property
    def membership(self) -> bool:
        """Whether members join or leave."""
        return bool(self.joining or self.leaving)

    @property
    def authorities(self) -> bool:
        """Whether another authority issues, or others are trusted."""
        return any(each.restarts or each.issues for each in self.trust)

    @property
    def version(self) -> bool:
        """Whether the release changes."""
        return self.before.version != self.after.version

    @property
    def versions(self) -> tuple[EtcdVersion, EtcdVersion]:
        """The release before and after."""
        return _version(self.before), _version(self.after)

    @property
    def minors(self) -> int:
        """How many minor versions the release goes up; below 0: down."""
        before, after = self.versions
        return (after.minor - before.minor) if after.major == before.major else 100 * (after.major - before.major)

    @cached_property
    def flags(self) -> list[str]:
        """Flags that differ, other than those that another release brings with it."""
        before, after = self.before.flags, self.after.flags
        return sorted(flag for flag in {*before, *after} if before.get(flag) != after.get(flag))

    @property
    def reasons(self) -> list[str]:
        """Why every member that stays restarts; empty when none does."""
        found = []
        if self.version:
            found.append(f"etcd {self.before.version} -> {self.after.version}")
        elif self.flags:
            found.append(", ".join(self.flags))
        for each in self.trust:
            if each.restarts:
                whose = f" for {each.whose}" if each.whose else ""
                found.append(f"trusts the authorities {', '.join(each.after)}{whose}")
        return found


def _version(state: State) -> EtcdVersion:
    version = parse(state.version)
    if version is None:
        raise ValueError(f"{state.version!r} is no version of etcd")
    return version
