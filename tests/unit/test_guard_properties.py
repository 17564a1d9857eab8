"""No sequence of accepted changes costs a cluster its quorum, with and without failures."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.plan.guard import State, Verdict, judge, read_state, rules
from components.plan.guard.change import Change
from components.plan.guard.machine_replacement import aligned
from components.plan.guard.state import MADE, following
from components.plan.guard.updates import updates

from .guard_simulator import BrokenError, Cluster, RefusedError, update

NAMES = [f"etcd-{number}" for number in range(1, 10)]
# Enough to find what breaks without any one of the rules that `wishes` touch.
MANY = settings(max_examples=100 * settings().max_examples // 40)
VERSIONS = ["3.5.24", "3.5.35", "3.6.5", "3.6.16", "3.7.3"]


def _rotations(count: int, start: int) -> list[list[str]]:
    """Two lists with that many names."""
    around = [*NAMES[start:], *NAMES[:start]]
    return [around[:count], around[:count][::-1]]


def state(names: list[str], version: str = "3.6.16", **changes: object) -> State:
    made: dict[str, object] = {
        "cluster": "test",
        "version": version,
        "members": {name: f"10.0.0.{NAMES.index(name) + 1}" for name in names},
        "data_directories": dict.fromkeys(names, "/var/lib/etcd"),
        "generations": dict.fromkeys(names, 1),
        "flags": {"--quota-backend-bytes": "8"},
        # One CA for all, unless the peers' own is given.
        **{f"peer_{key}": changes[key] for key in ("trusted", "issuer") if key in changes},
        **changes,
    }
    return State(**made)  # type: ignore[arg-type]


def hetzner(size: str = "", location: str = "fsn1", **facts: str) -> dict[str, str]:
    """A machine that Pulumi created on Hetzner Cloud."""
    network = {"network_id": "made", "network_range": "10.0.0.0/16", "subnet_range": "10.0.0.0/24"}
    zone = {"network_zone": "eu-central", "location": location}
    return {"platform": "hetzner", **network, **zone, "volume": size, **facts}


def aws(size: str = "", **facts: str) -> dict[str, str]:
    """A machine that Pulumi created on AWS."""
    zone = {"zone": "eu-central-1a", "subnets": "10.0.0.0/24"}
    return {"platform": "aws", "vpc_id": "made", "vpc_range": "10.0.0.0/16", **zone, "volume": size, **facts}


HOST = {"platform": "hosts"}
# None: an older program recorded nothing.
ORIGINS = [
    None,
    HOST,
    *(hetzner(size, location) for size in ("", "10", "20") for location in ("fsn1", "nbg1")),
    hetzner(network_id="4711"),
    hetzner(subnet_range="10.0.0.0/25"),
    *(aws(size) for size in ("", "10")),
    aws(vpc_range="10.0.0.0/8"),
    aws(zone="eu-central-1b"),
]


def stands_on(before: State, origin: dict[str, str] | None) -> State:
    """The same cluster on machines of this origin."""
    origins = {} if origin is None else {name: dict(origin) for name in before.members}
    return replace(before, origins=origins, on_volumes=bool(origin and origin.get("volume")))


_LISTS = [list(some) for count in (1, 3, 3, 5, 7) for start in range(9) for some in _rotations(count, start)]
TIMES: list[dict[str, str]] = [
    {},
    {"--election-timeout": "10000"},
    {"--heartbeat-interval": "1500", "--election-timeout": "10000"},
]
TLS: list[dict[str, str]] = [{}, {}, {"--tls-max-version": "TLS1.2"}, {"--tls-min-version": "TLS1.3"}]
TRUST = [(dict.fromkeys(names, MADE), issuer) for names in ("1", "12", "2", "23", "123") for issuer in names]


_flags = st.builds(
    lambda quota, times, tls: {"--quota-backend-bytes": quota, **times, **tls},
    st.sampled_from(["4", "8"]),
    st.sampled_from(TIMES),
    st.sampled_from(TLS),
)


@st.composite
def states(draw: st.DrawFn) -> State:
    trusted, issuer = draw(st.sampled_from(TRUST))
    peers = draw(st.sampled_from([(trusted, issuer), *TRUST]))
    flags = draw(_flags)
    used = draw(st.integers(0, int(flags["--quota-backend-bytes"])))
    names, version = draw(st.sampled_from(_LISTS)), draw(st.sampled_from(VERSIONS))
    trust = {"trusted": trusted, "issuer": issuer, "peer_trusted": peers[0], "peer_issuer": peers[1]}
    there = state(names, version, flags=flags, database_bytes=used, **trust)
    return stands_on(there, draw(st.sampled_from(ORIGINS)))


def _left(before: State, verdict: Verdict) -> State:
    """The input of the next update: the health check adds the size of the database."""
    return replace(verdict.state, database_bytes=before.database_bytes)


KINDS = ["members", "one", "order", "version", "generation", "trust", "peers", "flags", "origin"]


@st.composite
def wishes(draw: st.DrawFn, before: State) -> State:
    """Another state, mostly one that an operator might want after `before`."""
    after = before
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=3)):
        names = list(after.members)
        if kind == "members":
            after = _with_members(after, draw(st.sampled_from(_LISTS)))
        elif kind == "one":
            free = draw(st.sampled_from([name for name in NAMES if name not in names]))
            at = draw(st.integers(0, len(names) - 1))
            after = _with_members(after, [*names[:at], free, *names[at + 1 :]])
        elif kind == "order":
            after = _with_members(after, names[::-1])
        elif kind == "version":
            after = replace(after, version=draw(st.sampled_from(VERSIONS)))
        elif kind == "generation":
            raised = draw(st.sampled_from(names))
            generations = {name: count + (name == raised) for name, count in after.generations.items()}
            after = replace(after, generations=generations)
        elif kind == "trust":
            trusted, issuer = draw(st.sampled_from(TRUST))
            after = replace(after, trusted=trusted, issuer=issuer)
        elif kind == "origin":
            elsewhere = stands_on(after, draw(st.sampled_from(ORIGINS[1:])))
            # Without recorded origins (older programs), only the machines know whether data would have to move.
            after = elsewhere if before.origins or elsewhere.on_volumes == before.on_volumes else after
        elif kind == "peers":
            peers = draw(st.sampled_from([(after.trusted, after.issuer), *TRUST]))
            after = replace(after, peer_trusted=peers[0], peer_issuer=peers[1])
        else:
            after = replace(after, flags=draw(_flags))
    return after


def _with_members(after: State, names: list[str]) -> State:
    fresh = state(names, generations={name: after.generations.get(name, 1) for name in names})
    after = replace(
        after, members=fresh.members, data_directories=fresh.data_directories, generations=fresh.generations
    )
    origin = next(iter(after.origins.values()), None)
    return stands_on(after, None if origin is None else dict(origin))


@MANY
@given(st.data())
def test_accepted_changes_keep_the_quorum_without_gates(data: st.DataObject) -> None:
    before = following(None, data.draw(states()), ())
    cluster = Cluster.bootstrapped(before, gates=False)
    for _ in range(6):
        wanted = data.draw(wishes(before))
        verdict = judge(before, wanted)
        if verdict.refused:
            continue
        update(cluster, wanted, verdict.chain)
        before = _left(before, verdict)


@MANY
@given(st.data())
def test_healthy_machines_do_not_refuse_accepted_changes(data: st.DataObject) -> None:
    before = following(None, data.draw(states()), ())
    cluster = Cluster.bootstrapped(before, gates=True)
    for _ in range(6):
        wanted = data.draw(wishes(before))
        verdict = judge(before, wanted)
        if verdict.refused:
            continue
        cluster.smallest = 99
        update(cluster, wanted, verdict.chain)
        announced = min((step.spare for step in verdict.steps if not step.only_member), default=99)
        if verdict.steps:
            assert announced <= cluster.smallest, [str(step) for step in verdict.steps]
        assert set(cluster.members) == set(wanted.members)
        assert {member.version for member in cluster.members.values()} == {wanted.version}
        before = _left(before, verdict)


class KilledError(Exception):
    """The run ends, as after SIGKILL."""


@MANY
@given(st.data())
def test_tolerated_failures_never_cost_the_quorum(data: st.DataObject) -> None:
    """Members fail, runs are killed, and the next change comes before the last one was completed."""
    before = following(None, data.draw(states()), ())
    cluster = Cluster.bootstrapped(before, gates=True)

    def trouble() -> None:
        what = data.draw(st.sampled_from(["", "", "", "", "", "fail", "kill"]))
        if what == "kill":
            raise KilledError
        healthy = [name for name in cluster.voters if cluster.running(name)]
        if what == "fail" and cluster.spare() > 0 and healthy:
            # A member fails only if the cluster tolerates it; with more failures nothing is promised.
            cluster.broken.add(data.draw(st.sampled_from(healthy)))
            if cluster.spare() < 0:
                cluster.broken.clear()

    for _ in range(5):
        wanted = data.draw(wishes(before))
        verdict = judge(before, wanted)
        if verdict.refused:
            continue
        try:
            update(cluster, wanted, verdict.chain, trouble)
            before = _left(before, verdict)
        except (RefusedError, KilledError):
            # They come back with their data.
            cluster.broken.clear()
            for member in cluster.members.values():
                member.up = True
        assert cluster.spare() >= 0 or len(cluster.voters) == 1


@MANY
@given(st.data())
def test_a_killed_change_can_be_completed_or_reverted(data: st.DataObject) -> None:
    before = following(None, data.draw(states()), ())
    wanted = data.draw(wishes(before))
    assume(not judge(before, wanted).refused)
    # A volume that has grown in a cloud never shrinks.
    assume(_sizes(wanted) == _sizes(before))
    cluster = Cluster.bootstrapped(before, gates=True)
    steps = 0

    def kill() -> None:
        nonlocal steps
        steps -= 1
        if steps < 0:
            raise KilledError

    for goal in data.draw(st.lists(st.sampled_from([wanted, before]), min_size=1, max_size=3)):
        steps = data.draw(st.integers(0, 30))
        with contextlib.suppress(KilledError):
            update(cluster, goal, judge(before, goal).chain, kill)
        for member in cluster.members.values():
            member.up = True
    goal = data.draw(st.sampled_from([wanted, before]))
    update(cluster, goal, judge(before, goal).chain)
    assert set(cluster.members) == set(goal.members)


def _sizes(of: State) -> set[str]:
    return {origin.get("volume", "") for origin in of.origins.values()}


@MANY
@given(st.data())
def test_the_updates_proposed_by_a_refusal_are_accepted(data: st.DataObject) -> None:
    before = following(None, data.draw(states()), ())
    wanted = data.draw(wishes(before))
    verdict = judge(before, wanted)
    way = updates(*aligned(before, wanted))
    assume(way)
    assert verdict.refused == (len(way) > 1)
    for each in way:
        step = judge(before, each)
        assert step.problems == ()
        assert set(each.members) == set(each.generations) == set(each.data_directories)
        before = _left(before, step)
    assert before.same(aligned(before, wanted)[1])


@MANY
@given(states())
def test_a_state_survives_stack_outputs_also_as_floats(before: State) -> None:
    data = before.data()
    data |= {"serial": 0.0, "generations": {name: float(count) for name, count in before.generations.items()}}
    data["members"] = dict(sorted(before.members.items()))
    back = read_state(data)
    assert back is not None
    assert back.same(before)
    assert list(back.members) == list(before.members)


def test_the_state_format_is_complete_and_stable() -> None:
    full = state(
        ["etcd-3", "etcd-1", "etcd-2"],
        identities={"etcd-1": "aa"},
        trusted=TRUST[1][0],
        issuer="2",
        peer_trusted={"peer-1": MADE},
        peer_issuer="peer-1",
        on_volumes=True,
        origins={"etcd-1": hetzner("20")},
        authentication=True,
        users={"reader": "read /x/"},
        serial=7,
        database_bytes=5,
        overridden=("what was refused",),
    )
    data = full.data()
    assert data["format"] == 1
    assert read_state(json.loads(json.dumps(data))) == full
    for key in data:
        left = read_state({name: value for name, value in data.items() if name != key})
        # Older programs have not recorded these.
        older: dict[str, Any] = {"origins": {}, "authentication": False, "users": {}}
        if key in older:
            assert left == replace(full, **{key: older[key]})
        else:
            assert (left is None) == (not key.startswith("peer_")), key


def test_an_old_state_without_peer_authorities_has_one_ca_for_all() -> None:
    before = state(THREE, trusted=TRUST[1][0], issuer="2")
    data = {key: value for key, value in before.data().items() if not key.startswith("peer_")}
    assert read_state(data) == before


@MANY
@given(st.data())
def test_an_override_is_valid_for_one_change_only(data: st.DataObject) -> None:
    before = following(None, data.draw(states()), ())
    wanted = data.draw(wishes(before))
    refused = judge(before, wanted)
    assume(refused.refused)
    accepted = judge(before, wanted, refused.override)
    assert accepted.overridden
    assert accepted.state.overridden
    assert all(map(str, accepted.steps)), "they can be announced"
    other = data.draw(wishes(before))
    # Another location alone is no other change, before the next generation.
    same = aligned(before, other)[1].same(aligned(before, wanted)[1])
    assert judge(before, other, refused.override).overridden == same
    assert judge(before, replace(wanted, identities={"etcd-1": "another"}), refused.override).overridden
    # Reverted, and the same again: another serial, another override.
    again = judge(replace(before, serial=accepted.state.serial + 1), wanted, refused.override)
    assert again.refused
    assert judge(accepted.state, wanted, refused.override).unused_override


def test_an_unneeded_override_is_reported_also_at_bootstrap() -> None:
    same = following(None, state(["etcd-1"]), ())
    for before in (None, same):
        assert judge(before, same, "allow-000000000000").unused_override
        assert not judge(before, same).unused_override
        assert not judge(before, same, "allow-000000000000").overridden


def test_the_serial_rises_with_every_change_and_overrides_are_recorded() -> None:
    first = following(None, state(["etcd-1"]), ())
    second = following(first, state(["etcd-1"], "3.7.3"), ["what was refused"])
    same = following(second, state(["etcd-1"], "3.7.3"), ())
    third = following(same, state(["etcd-1"]), ())
    assert [each.serial for each in (first, second, same, third)] == [1, 2, 2, 3]
    assert [each.overridden for each in (first, second, same, third)] == [
        (),
        ("what was refused",),
        ("what was refused",),
        (),
    ]


# A rule, and a change that only this rule refuses.
THREE = ["etcd-1", "etcd-2", "etcd-3"]
ONES = dict.fromkeys(THREE, 1)


def on(origin: dict[str, str], names: list[str] | None = None, **changes: object) -> State:
    """A cluster on machines of one origin."""
    return stands_on(state(names or THREE, **changes), origin)  # type: ignore[arg-type]


def speaks(tls: dict[str, str]) -> State:
    return state(THREE, flags={"--quota-backend-bytes": "8", **tls})


NEEDED = [
    ("keeps_machines", on(hetzner()), on(HOST)),
    ("keeps_machines", on(HOST), on(hetzner())),
    ("keeps_machines", on(hetzner()), on(aws())),
    ("keeps_machines", on(hetzner()), on(hetzner(network_id="4711"))),
    ("keeps_machines", on(hetzner(network_id="4711")), on(hetzner(network_id="4712"))),
    ("keeps_machines", on(hetzner()), on(hetzner(network_range="10.0.0.0/8"))),
    ("keeps_machines", on(hetzner()), on(hetzner(subnet_range="10.0.0.0/25"))),
    ("keeps_machines", on(hetzner()), on(hetzner(network_zone="us-east"))),
    ("keeps_machines", on(hetzner("10")), on(hetzner("10", "nbg1"), generations={**ONES, "etcd-2": 2})),
    ("keeps_machines", on(hetzner("20")), on(hetzner("10"))),
    ("keeps_machines", on(aws()), on(aws(vpc_id="vpc-1"))),
    ("keeps_machines", on(aws()), on(aws(vpc_range="10.0.0.0/8"))),
    ("keeps_machines", on(aws()), on(aws(zone="eu-central-1b"))),
    ("keeps_machines", on(aws()), on(aws(subnets="10.0.0.0/25"))),
    ("keeps_machines", on(aws(), ["etcd-1"]), on(aws(subnets="10.0.0.0/25"), ["etcd-1"])),
    ("_volumes", on(hetzner("10")), on(hetzner(), ["etcd-1", "etcd-4", "etcd-3"])),
    ("_identity", state(THREE), state(THREE, cluster="other")),
    ("_identity", state(THREE), state(THREE, members={**state(THREE).members, "etcd-2": "10.0.0.99"})),
    ("_identity", state(THREE), state(THREE, data_directories=dict.fromkeys(THREE, "/srv/etcd"))),
    ("_versions", state(THREE, "3.5.35"), state(THREE, "3.7.3")),
    ("_versions", state(THREE, "3.7.3"), state(THREE, "3.5.35")),
    ("_versions", state(THREE, "3.5.31"), state(THREE, "3.6.16")),
    ("_versions", state(THREE, "3.7.3"), state(THREE, "3.6.10")),
    ("_one_thing", state(THREE), state(["etcd-1", "etcd-4", "etcd-3"], "3.7.3")),
    (
        "_membership",
        state(THREE),
        state(
            ["etcd-1", "etcd-4", "etcd-3"], members={"etcd-1": "10.0.0.1", "etcd-4": "10.0.0.2", "etcd-3": "10.0.0.3"}
        ),
    ),
    ("_generations", state(THREE), state(THREE, generations={"etcd-1": 2, "etcd-2": 2, "etcd-3": 1})),
    ("_trust", state(THREE), state(THREE, trusted={"2": MADE}, issuer="2")),
    ("_trust", state(THREE, trusted=dict.fromkeys("12", MADE)), state(THREE, issuer="2")),
    ("_trust", state(THREE), state(THREE, peer_trusted={"2": MADE}, peer_issuer="2")),
    ("_quota", state(THREE, database_bytes=6), state(THREE, flags={"--quota-backend-bytes": "5"})),
    ("_timing", state(THREE), state(THREE, flags={"--quota-backend-bytes": "8", **TIMES[2]})),
    ("_timing", state(THREE, flags={"--quota-backend-bytes": "8", **TIMES[2]}), state(THREE)),
    ("_tls", speaks(TLS[2]), speaks(TLS[3])),
    ("_tls", speaks(TLS[3]), speaks(TLS[2])),
    ("_volumes", state(THREE), state(THREE, on_volumes=True)),
    ("_authentication", state(THREE, authentication=True, users={"reader": "read /x/"}), state(THREE)),
    ("_quorum", state(["etcd-1"]), state(["etcd-4", "etcd-1", "etcd-5"], flags={"--quota-backend-bytes": "9"})),
]


@pytest.mark.parametrize(("rule", "before", "wanted"), NEEDED, ids=[row[0] for row in NEEDED])
def test_without_a_rule_the_guard_accepts_a_breaking_change(
    rule: str, before: State, wanted: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator can fail, and each of these rules is needed."""
    assert judge(before, wanted).refused
    monkeypatch.setattr(rules, "_RULES", tuple(each for each in rules._RULES if each.__name__ != rule))
    monkeypatch.setattr(rules, "_quorum", lambda *_: ())
    verdict = judge(before, wanted)
    assert not verdict.refused
    with pytest.raises((BrokenError, RefusedError)):
        update(Cluster.bootstrapped(before, gates=False), wanted, verdict.chain)


def test_every_rule_is_needed() -> None:
    assert {row[0] for row in NEEDED} == {"_quorum", *(rule.__name__ for rule in rules._RULES)}


def test_a_change_describes_the_order_in_which_members_are_converged() -> None:
    grown = Change(state(THREE), state([*THREE, "etcd-4", "etcd-5"]))
    assert grown.chain == [*THREE, "etcd-4", "etcd-5"]
    exchanged = Change(state(THREE), state(["etcd-1", "etcd-4", "etcd-3"]))
    assert exchanged.chain == ["etcd-4", "etcd-1", "etcd-3"]
