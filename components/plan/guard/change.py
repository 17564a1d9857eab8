"""The difference between two states, in the terms of rules and steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..versions import EtcdVersion, parse
from .state import State


@dataclass(frozen=True)
class Trust:
    """One list of trusted CAs and its issuer, before and after."""

    authorities: str
    """Argument of `EtcdCluster` for the list."""
    issuer: str
    """Argument of `EtcdCluster` for the issuer."""
    whose: str
    """Whose certificates the CAs are for, in words; empty where one list is for all."""
    before: Mapping[str, str]
    after: Mapping[str, str]
    issuers: tuple[str, str]

    @property
    def trusts(self) -> list[str]:
        """CAs that are newly trusted."""
        return [name for name in self.after if name not in self.before]

    @property
    def drops(self) -> list[str]:
        """CAs that are no longer trusted."""
        return [name for name in self.before if name not in self.after]

    @property
    def restarts(self) -> bool:
        """Whether the trusted CAs change: etcd reads them only when it starts."""
        return bool(self.trusts or self.drops)

    @property
    def issues(self) -> bool:
        """Whether the issuer changes."""
        return self.issuers[0] != self.issuers[1]


@dataclass(frozen=True)
class Change:
    """The change from what the last update left to the desired state."""

    before: State
    after: State

    @property
    def undone(self) -> "Change":
        """The opposite change."""
        return Change(self.after, self.before)

    @cached_property
    def joining(self) -> list[str]:
        """New members, in list order."""
        return [name for name in self.after.members if name not in self.before.members]

    @cached_property
    def leaving(self) -> list[str]:
        """Members to be removed, in list order."""
        return [name for name in self.before.members if name not in self.after.members]

    @cached_property
    def staying(self) -> list[str]:
        """Members that stay, in the new list order."""
        return [name for name in self.after.members if name in self.before.members]

    @cached_property
    def chain(self) -> list[str]:
        """The order in which members converge: list order, but new members go first when others are removed.

        The first member that stays removes the others, so all new members must have joined by then. Slots with another
        machine go before all: no member restarts while one is missing. In list order, a setting changed in the same
        update would wait for such a slot, and the slot for the setting.
        """
        order = [*self.joining, *self.staying] if self.leaving else list(self.after.members)
        # Stacked members have no `etcd-node`.
        order = [name for name in order if name not in self.after.control_planes]
        missing = {*self.replaced, *self.other_machine}
        return sorted(order, key=lambda name: name not in missing)

    @cached_property
    def replaced(self) -> list[str]:
        """Slots with a raised generation."""
        before, after = self.before.generations, self.after.generations
        both = (name for name in self.staying if name in before and name in after)
        return [name for name in both if after[name] > before[name]]

    @cached_property
    def other_machine(self) -> list[str]:
        """Slots whose machine has another `identity` in the configuration."""
        both = (name for name in self.staying if name in self.before.identities and name in self.after.identities)
        return [name for name in both if self.before.identities[name] != self.after.identities[name]]

    @property
    def keeps_volumes(self) -> bool:
        """Whether the data of a replaced machine are on a volume, which its successor gets."""
        return self.before.on_volumes and self.after.on_volumes

    @property
    def new_machines(self) -> list[str]:
        """Members whose machines measure disk and links before they begin, unless they have their data."""
        return [*self.joining, *self.other_machine, *([] if self.keeps_volumes else self.replaced)]

    @cached_property
    def trust(self) -> tuple[Trust, ...]:
        """The lists of trusted CAs: only one when peers have and had the same as all others."""
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
    def put_right(self) -> dict[str, str]:
        """Members that stay -> what others have changed on their machine, and this update puts right."""
        before, after = self.before.put_right, self.after.put_right
        return {name: after[name] for name in self.staying if name in after and after[name] != before.get(name)}

    @property
    def looks(self) -> list[str]:
        """Members whose machines are asked what others have changed."""
        if not self.after.drift_check:
            return []
        everybody = self.after.drift_check != self.before.drift_check
        return [each for each in self.after.data_directories if everybody or each in (*self.put_right, *self.joining)]

    @property
    def membership(self) -> bool:
        """Whether members are added or removed."""
        return bool(self.joining or self.leaving)

    @property
    def restores(self) -> bool:
        """Whether the cluster is founded anew from a snapshot."""
        return self.after.restored > self.before.restored

    @property
    def authorities(self) -> bool:
        """Whether an issuer or the trusted CAs change."""
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
        """How many minor versions the change upgrades; below 0: downgrades."""
        before, after = self.versions
        return (after.minor - before.minor) if after.major == before.major else 100 * (after.major - before.major)

    @cached_property
    def flags(self) -> list[str]:
        """Flags that differ, including those that differ because of another release."""
        before, after = self.before.flags, self.after.flags
        return sorted(flag for flag in {*before, *after} if before.get(flag) != after.get(flag))

    @property
    def service_manager(self) -> bool:
        """Whether the service manager changes."""
        return self.before.service_manager != self.after.service_manager

    @property
    def reasons(self) -> list[str]:
        """Why every member that stays restarts; empty when none does."""
        found = []
        if self.version:
            found.append(f"etcd {self.before.version} -> {self.after.version}")
        elif self.flags:
            found.append(", ".join(self.flags))
        if self.service_manager:
            found.append(f"{self.before.service_manager} -> {self.after.service_manager}")
        elif self.before.image != self.after.image and not self.version:
            found.append("another image")
        for each in self.trust:
            if each.restarts:
                whose = f" for {each.whose}" if each.whose else ""
                found.append(f"trusts {'CA' if len(each.after) == 1 else 'CAs'} {', '.join(each.after)}{whose}")
        return found


def _version(state: State) -> EtcdVersion:
    version = parse(state.version)
    if version is None:
        raise ValueError(f"{state.version!r} is not a version of etcd")
    return version
