"""A small cluster that does what the program and `etcd-node` do, written without a look at the guard.

It checks what the guard promises at every moment: a majority of the voters runs and is connected, and no two members
are more than one minor version apart. A client of the last update reaches every running member. The database fits
the quota. Pulumi is simulated too: it deletes machines, and creates others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from components.plan.guard import State


class RefusedError(Exception):
    """The gate on a machine refused a step."""


class BrokenError(AssertionError):
    """The cluster is in a forbidden state."""


@dataclass
class Member:
    """An etcd and its running settings."""

    version: str
    trusts: frozenset[str]
    certificate_of: str
    peers_trust: frozenset[str]
    peer_certificate_of: str
    flags: tuple[tuple[str, str], ...]
    generation: int
    place: tuple[str, str]
    """Its address, and its data directory."""
    listed: list[str]
    """The last member list that its machine received."""
    stands_on: dict[str, str]
    """The inputs of its machine in Pulumi."""
    up: bool = True
    has_data: bool = True
    votes: bool = True


def minor(version: str) -> int:
    return int(version.split(".")[1])


def patch(version: str) -> int:
    return int(version.split(".")[2])


# The patch of a minor that etcd needs for the next minor (etcd.io/docs, upgrade guides).
_FLOORS = {5: 32, 6: 11}


@dataclass
class Cluster:
    """The machines, and etcd's member list.

    Attributes:
        gates: whether machines refuse steps that are not safe now.
        broken: members that are down for another reason than the update.
        smallest: the fewest spare voters that were seen.
        name: of the cluster.
        on_volumes: where the data is.
        database: its size.
        noted: members that the cluster itself has recorded as the program's.
        users: those with a certificate for some of the keys.
    """

    members: dict[str, Member]
    gates: bool = True
    broken: set[str] = field(default_factory=set)
    client: tuple[frozenset[str], str] = (frozenset(), "")
    smallest: int = 99
    name: str = ""
    on_volumes: bool = False
    database: int = 0
    noted: set[str] = field(default_factory=set)
    users: frozenset[str] = frozenset()

    @staticmethod
    def bootstrapped(state: State, *, gates: bool) -> "Cluster":
        members = {name: _member(state, name) for name in state.members}
        return Cluster(
            members,
            gates,
            client=(frozenset(state.trusted), state.issuer),
            name=state.cluster,
            on_volumes=state.on_volumes,
            database=state.database_bytes,
            noted=set(members),
            users=frozenset(state.users),
        )

    def running(self, name: str) -> bool:
        member = self.members[name]
        return member.up and member.has_data and name not in self.broken

    @property
    def voters(self) -> list[str]:
        return [name for name, member in self.members.items() if member.votes]

    def _talk(self, one: Member, other: Member) -> bool:
        return one.peer_certificate_of in other.peers_trust and other.peer_certificate_of in one.peers_trust

    def spare(self) -> int:
        """How many more voters may fail; below 0: there is no quorum."""
        runs = [self.members[name] for name in self.voters if self.running(name)]
        together = max((sum(self._talk(one, other) for other in runs) for one in runs), default=0)
        return together - (len(self.voters) // 2 + 1)

    def look(self) -> None:
        """Raise BrokenError if the cluster is in a forbidden state."""
        if len(self.voters) > 1 or self.broken:
            self.smallest = min(self.smallest, self.spare())
            if self.spare() < 0:
                raise BrokenError(f"no quorum: {self.members}, down {self.broken}")
        runs = [member for name, member in self.members.items() if self.running(name)]
        minors = [minor(member.version) for member in runs]
        if minors and max(minors) - min(minors) > 1:
            raise BrokenError(f"minor versions {sorted(minors)} at the same time")
        trusts, own = self.client
        if any(member.certificate_of not in trusts or own not in member.trusts for member in runs):
            raise BrokenError("a client of the last update is locked out")
        flags = [dict(member.flags) for member in runs]
        if any(int(each["--quota-backend-bytes"]) < self.database for each in flags):
            raise BrokenError("NOSPACE")
        # No machine checks this. After an interrupted run, the guard's knowledge of the times is outdated.
        beats = [int(each.get("--heartbeat-interval", 100)) for each in flags]
        waits = [int(each.get("--election-timeout", 1000)) for each in flags]
        if not self.gates and len(runs) > 1 and min(waits) < 5 * max(beats):
            raise BrokenError(f"elections without need: heartbeats {beats} ms, timeouts {waits} ms")
        oldest = max(each.get("--tls-min-version", "TLS1.2") for each in flags) if flags else ""
        newest = min(each.get("--tls-max-version", "TLS1.3") for each in flags) if flags else ""
        if not self.gates and oldest > newest:
            raise BrokenError(f"no version of TLS that all speak: {flags}")

    def gate(self, may: bool, why: str) -> None:
        """A machine's own check; without it, `look` decides whether the cluster tolerates the step."""
        if self.gates and not may:
            raise RefusedError(why)

    def must(self, may: bool, why: str) -> None:
        """What breaks a cluster in a way that `look` cannot see."""
        if not may:
            raise (RefusedError if self.gates else BrokenError)(why)


def _member(state: State, name: str) -> Member:
    return Member(
        version=state.version,
        trusts=frozenset(state.trusted),
        certificate_of=state.issuer,
        peers_trust=frozenset(state.peer_trusted),
        peer_certificate_of=state.peer_issuer,
        flags=tuple(sorted(state.flags.items())),
        generation=state.generations.get(name, 0),
        place=(state.members[name], state.data_directories[name]),
        listed=list(state.members),
        stands_on=dict(state.origins.get(name, {})),
    )


def update(cluster: Cluster, wanted: State, chain: Sequence[str], between: Callable[[], None] = lambda: None) -> None:
    """One `pulumi up`.

    Args:
        cluster: the present one; changed.
        chain: the order in which members are converged.
        between: called after every step; may break members, or raise to kill the run.

    Raises:
        RefusedError: a gate refused a step; the run ends there.
        BrokenError: the cluster was in a forbidden state.
    """
    for _ in _update(cluster, wanted, chain):
        cluster.look()
        between()
        cluster.look()


def _update(cluster: Cluster, wanted: State, chain: Sequence[str]) -> Iterator[None]:
    cluster.must(cluster.name == wanted.cluster, "machines of another cluster")
    cluster.must(cluster.on_volumes == wanted.on_volumes, "the data are somewhere else")
    stay = [name for name in cluster.members if name in wanted.members]
    # Resources that depend on a replaced one are deleted with it, first and all at once; those that are no longer
    # configured are deleted last.
    first, last = (
        [name for name in stay if _differs(cluster, wanted, name, facts)] for facts in (_GROUND, ("platform",))
    )
    yield from _delete(cluster, first)
    for name in stay:
        _volume(cluster, wanted, name)
    for name, generation in wanted.generations.items():
        if name in cluster.members and generation != cluster.members[name].generation:
            others = [other for other in cluster.voters if other != name]
            cluster.gate(all(map(cluster.running, others)), "another member is not healthy")
            # After an interrupted run there may be fewer, without a replaced machine's entry. The only member has no
            # others to ask.
            cluster.gate(not others or len(others) > len(cluster.voters) // 2, "no quorum without it")
            cluster.members[name].has_data = cluster.on_volumes
            cluster.members[name].up = False
            cluster.members[name].generation = generation
            cluster.members[name].stands_on = dict(wanted.origins.get(name, {}))
            yield
    for name in chain:
        yield from _converge(cluster, wanted, name)
    down = [name for name in wanted.members if not cluster.running(name)]
    if down or set(cluster.members) != set(wanted.members):
        raise RefusedError(f"health: {down} down, members {list(cluster.members)}, wanted {list(wanted.members)}")
    cluster.must(wanted.authentication or not cluster.users, "a certificate for some keys is one for all")
    cluster.users = frozenset(wanted.users)
    yield from _delete(cluster, last)
    cluster.client = (frozenset(wanted.trusted), wanted.issuer)
    cluster.noted = set(wanted.members)


_GROUND = ("network_id", "network_range", "subnet_range", "network_zone", "vpc_id", "vpc_range", "zone", "subnets")


def _differs(cluster: Cluster, wanted: State, name: str, facts: Sequence[str]) -> bool:
    old, new = cluster.members[name].stands_on, wanted.origins.get(name, {})
    return any(old[fact] != new[fact] for fact in facts if fact in old and fact in new)


def _volume(cluster: Cluster, wanted: State, name: str) -> None:
    """What clouds do with a volume."""
    here, new = cluster.members[name], wanted.origins.get(name, {})
    size = here.stands_on.get("volume", "")
    if "volume" not in here.stands_on or "volume" not in new:
        return
    cluster.must(bool(new["volume"]) == bool(size), "the data are somewhere else")
    cluster.must(int(new["volume"] or 0) >= int(size or 0), "a volume does not shrink")
    if wanted.generations.get(name, 0) != here.generation:
        there = new.get("location") == here.stands_on.get("location")
        cluster.must(there or not size, "the volume is somewhere else than the machine")
    here.stands_on["volume"] = new["volume"]


def _delete(cluster: Cluster, names: Sequence[str]) -> Iterator[None]:
    for name in names:
        cluster.members[name].has_data = False
        cluster.members[name].up = False
    cluster.must(any(member.has_data for member in cluster.members.values()), "the data are gone")
    if names:
        yield


def _converge(cluster: Cluster, wanted: State, name: str) -> Iterator[None]:
    if name in cluster.broken:
        raise RefusedError(f"{name} cannot be reached")
    here = cluster.members.get(name)
    if here is None or not here.has_data:
        yield from _join(cluster, wanted, name)
    here = cluster.members[name]
    cluster.must(here.place == _member(wanted, name).place, "the cluster knows it elsewhere, or its data are")
    if not here.votes:
        cluster.gate(cluster.spare() >= 0, "no quorum")
        here.votes = True
        yield
    here.up = True
    # A new certificate is served at once; CAs are read only at the next start.
    others = [member for other, member in cluster.members.items() if other != name]
    cluster.gate(all(wanted.issuer in other.trusts for other in others), "a member does not trust the issuer")
    trusted = all(wanted.peer_issuer in other.peers_trust for other in others)
    cluster.gate(trusted, "a peer does not trust the issuer")
    here.certificate_of, here.peer_certificate_of = wanted.issuer, wanted.peer_issuer
    yield
    ours = {*here.listed, *cluster.noted}
    leaving = [other for other in cluster.members if other in ours and other not in wanted.members]
    for gone in sorted(leaving, key=cluster.running):  # unhealthy members go first
        lost = gone in here.listed and not cluster.running(gone)
        if cluster.members[gone].votes and not lost and not set(wanted.members) <= set(cluster.voters):
            break  # joining members join before any member leaves
        staying = [other for other in cluster.voters if other in wanted.members]
        cluster.gate(all(map(cluster.running, staying)), "a remaining member is not healthy")
        healthy = [other for other in cluster.voters if other != gone and cluster.running(other)]
        cluster.gate(len(healthy) >= (len(cluster.voters) - 1) // 2 + 1, "no quorum without it")
        del cluster.members[gone]
        cluster.broken.discard(gone)
        cluster.noted.discard(gone)
        yield
    fresh = _member(wanted, name)
    if any(getattr(here, part) != getattr(fresh, part) for part in ("version", "flags", "trusts", "peers_trust")):
        others_voting = [other for other in cluster.voters if other != name]
        cluster.gate(set(others_voting) <= {*wanted.members, *cluster.noted}, "a stranger")
        cluster.gate(all(map(cluster.running, others_voting)), "another member is not healthy")
        cluster.gate(len(others_voting) != 1, "two voters")
        cluster.gate(
            all(each.certificate_of in fresh.trusts for each in cluster.members.values()),
            "a member that it would not trust",
        )
        cluster.gate(
            all(each.peer_certificate_of in fresh.peers_trust for each in cluster.members.values()),
            "a peer that it would not trust",
        )
        up = minor(fresh.version) - minor(here.version)
        cluster.must(abs(up) <= 1, "a skipped minor")
        floor = _FLOORS.get(minor(here.version), 0)
        cluster.must(up <= 0 or patch(here.version) >= floor, "too old for the next minor")
        floor = _FLOORS.get(minor(fresh.version), 0)
        cluster.must(up >= 0 or patch(fresh.version) >= floor, "could not be upgraded again")
        here.up = False
        yield
        cluster.members[name] = here = replace(
            fresh, generation=here.generation, listed=here.listed, stands_on=here.stands_on
        )
        yield
    here.listed = list(wanted.members)


def _join(cluster: Cluster, wanted: State, name: str) -> Iterator[None]:
    minors = {minor(member.version) for other, member in cluster.members.items() if cluster.running(other)}
    cluster.gate(minor(wanted.version) in minors, "no member runs that version")
    cluster.must(len({*minors, minor(wanted.version)}) == 1, "a member joins while versions are mixed")
    if name in cluster.members:
        others = [other for other in cluster.voters if other != name]
        healthy = sum(map(cluster.running, others))
        cluster.gate(healthy >= len(others) // 2 + 1, "no quorum without its entry")
        del cluster.members[name]
        yield
    cluster.gate(cluster.spare() >= 0, "no quorum")
    taken = {member.place[0] for member in cluster.members.values()}
    cluster.must(wanted.members[name] not in taken, "its address is another member's")
    cluster.noted.add(name)
    for learner in [other for other, member in cluster.members.items() if not member.votes]:
        del cluster.members[learner]  # etcd accepts one learner at a time, and this one has no data
        yield
    cluster.members[name] = replace(_member(wanted, name), votes=False)
    yield
