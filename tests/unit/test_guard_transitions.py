"""A table of changes: how many updates each takes, or why it is refused."""

from dataclasses import replace
from typing import Any

import pytest

from components.plan import AuthorityPlan, ClusterPlan, MemberPlan, UserPlan
from components.plan.guard import State, judge, wanted_state
from components.plan.guard.machine_replacement import aligned
from components.plan.guard.state import MADE, following
from components.plan.guard.updates import updates
from components.plan.origin import EXISTS

Transition = tuple[str, dict[str, Any], dict[str, Any], int, str]

OLD, NEW = {"etcd-2": "a machine"}, {"etcd-2": "another machine"}
TIMES_OWN = {"heartbeat_interval_ms": 100, "election_timeout_ms": 1000}
TIMES_SLOW = {"heartbeat_interval_ms": 1500, "election_timeout_ms": 10000}
CLOUD = {"platform": "hetzner", "network_id": "made", "location": "fsn1", "volume": ""}
OTHER = {**CLOUD, "network_id": "4711"}
READER = [UserPlan("reader", "/x/", "read")]
G111 = {"etcd-1": 1, "etcd-2": 1, "etcd-3": 1}
FIRST, ONE = {"generations": G111}, {"members": "1"}
V35, V37, SETTING = {"version": "3.5.35"}, {"version": "3.7.3"}, {"flags": {"max-txn-ops": "256"}}


def cluster(
    *,
    members: str = "123",
    version: str = "3.6.16",
    generations: dict[str, int] | None = None,
    trusted: str = "1",
    issuer: str = "1",
    peers: str = "",
    peer_issuer: str = "1",
    addresses: dict[str, str] | None = None,
    database: int = 0,
    name: str = "test",
    data_directory: str = "/var/lib/etcd",
    identities: dict[str, str] | None = None,
    on_volumes: bool = False,
    origin: dict[str, str] | None = None,
    older: bool = False,
    **plan: Any,
) -> State:
    """A cluster with the members etcd-<digit>, as the program describes it; all machines have the same origin."""
    names = [f"etcd-{digit}" for digit in members]
    where = {f"etcd-{digit}": f"10.0.0.{digit}" for digit in members} | (addresses or {})
    members_plan = [MemberPlan(each, where[each], data_directory) for each in names]
    state = wanted_state(
        ClusterPlan(
            name,
            members_plan,
            "program",
            version=version,
            authorities=[AuthorityPlan(each) for each in trusted],
            issuer=issuer,
            peer_authorities=[AuthorityPlan(each) for each in peers] or None,
            peer_issuer=peer_issuer,
            **plan,
        ),
        generations={each: count for each, count in (generations or {}).items() if each in names},
        identities=identities or {},
        certificates={},
        on_volumes=on_volumes,
        origins=dict.fromkeys(names, origin or EXISTS),
    )
    # An older program has not recorded the origin of its machines.
    return replace(state, database_bytes=database, origins={} if older else state.origins)


# Name, from, to (by default as in `cluster`), number of updates (0: impossible), text of the refusal (empty: accepted).
TABLE: list[Transition] = [
    ("nothing", {}, {}, 0, ""),
    ("another order of the list", {}, {"members": "321"}, 1, ""),
    ("a setting", {}, SETTING, 1, ""),
    ("a higher quota", {}, {"quota": "4GiB"}, 1, ""),
    ("authentication on", {}, {"authentication": True, "users": READER}, 1, ""),
    ("authentication off", {"authentication": True}, {}, 1, ""),
    (
        "authentication off and a user's certificate is still valid",
        {"authentication": True, "users": READER},
        {},
        0,
        "those of reader remain valid until they expire",
    ),
    ("a lower quota with room", {"quota": "4GiB", "database": 2**20}, {"quota": "2GiB"}, 1, ""),
    (
        "a quota below the database",
        {"quota": "4GiB", "database": 3 * 2**30},
        {"quota": "2GiB"},
        0,
        "etcd rejects all writes",
    ),
    ("as patient and as silent as before", TIMES_OWN, {}, 1, ""),
    ("twice the times", {}, {"heartbeat_interval_ms": 200, "election_timeout_ms": 2000}, 1, ""),
    (
        "a heartbeat too slow for the last member that restarts",
        {},
        {"heartbeat_interval_ms": 201, "election_timeout_ms": 2010},
        2,
        "Raise election_timeout_ms first, then heartbeat_interval_ms",
    ),
    ("an election timeout alone", {}, {"election_timeout_ms": 10000}, 1, ""),
    ("TLS 1.3 alone", {}, {"flags": {"tls-min-version": "TLS1.3"}}, 1, ""),
    (
        "TLS 1.3 alone after 1.2 alone",
        {"flags": {"tls-max-version": "TLS1.2"}},
        {"flags": {"tls-min-version": "TLS1.3"}},
        2,
        "Allow both for one update: tls-min-version TLS1.2",
    ),
    (
        "TLS 1.2 alone after suites that it cannot use with our keys",
        {"flags": {"cipher-suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}},
        {"flags": {"tls-max-version": "TLS1.2"}},
        2,
        "the last update allowed only TLS1.3 to TLS1.3",
    ),
    ("a heartbeat after its election timeout", {"election_timeout_ms": 10000}, TIMES_SLOW, 1, ""),
    ("back to etcd's own times", TIMES_SLOW, {}, 2, "Lower heartbeat_interval_ms first, then election_timeout_ms"),
    ("other times of the only member", ONE, {"members": "1", **TIMES_SLOW}, 1, ""),
    (
        "more members with other times, a new one first",
        ONE,
        {"members": "213", **TIMES_SLOW},
        2,
        "Raise election_timeout_ms first",
    ),
    ("more members with other times", ONE, {"members": "123", **TIMES_SLOW}, 1, ""),
    ("fewer members with a setting", {}, {"members": "1", **SETTING}, 1, ""),
    (
        "fewer members with a setting, taken back by a new one that comes first",
        {"members": "213"},
        {"members": "1", **SETTING},
        2,
        "Each step of undoing it must, too; this step would not: etcd-1 restarts",
    ),
    ("other times and two minors", V35, {"version": "3.7.3", **TIMES_SLOW}, 3, "here 1000 ms meet 1500 ms"),
    ("a patch up", {"version": "3.6.11"}, {}, 1, ""),
    ("a patch down", {}, {"version": "3.6.11"}, 1, ""),
    ("3.5 to 3.6", V35, {}, 1, ""),
    ("3.6 to 3.7", {}, V37, 1, ""),
    ("3.5 to 3.7", V35, V37, 2, "etcd can be upgraded by only one minor version at a time"),
    ("3.5 below 3.5.32 to 3.6", {"version": "3.5.31"}, {}, 2, "Every member must run at least 3.5.32"),
    ("3.5.32 to 3.6", {"version": "3.5.32"}, {}, 1, ""),
    ("3.6.11 to 3.7", {"version": "3.6.11"}, V37, 1, ""),
    ("3.6 below 3.6.11 to 3.7", {"version": "3.6.10"}, V37, 2, "Every member must run at least 3.6.11"),
    ("3.5 below 3.5.32 to 3.7", {"version": "3.5.24"}, V37, 3, "at least 3.5.32"),
    ("3.7 to 3.6", V37, {}, 1, ""),
    ("3.6 to 3.5", {}, V35, 1, ""),
    ("3.6 to below 3.5.32", {}, {"version": "3.5.31"}, 2, "A downgrade to 3.5 must go to at least 3.5.32"),
    ("3.6 to 3.5.32", {}, {"version": "3.5.32"}, 1, ""),
    ("3.7 to below 3.6.11", V37, {"version": "3.6.10"}, 2, "must go to at least 3.6.11"),
    ("3.7 to below 3.5.32", V37, {"version": "3.5.24"}, 3, "must go to at least 3.5.32"),
    ("3.7 to 3.5", V37, V35, 2, "etcd can be downgraded by only one minor version at a time"),
    ("1 to 3 members", ONE, {}, 1, ""),
    ("3 to 5 members", {}, {"members": "12345"}, 1, ""),
    ("3 to 7 members", {}, {"members": "1234567"}, 1, ""),
    ("7 to 5 members", {"members": "1234567"}, {"members": "12345"}, 1, ""),
    ("5 to 3 members", {"members": "12345"}, {}, 1, ""),
    ("3 to 1 member", {}, ONE, 1, ""),
    ("3 to 1 member with a setting", {}, {"members": "1", **SETTING}, 1, ""),
    ("3 to 5 members with a setting", {}, {"members": "12345", **SETTING}, 1, ""),
    (
        "1 to 3, one new member before the old one, with a setting",
        ONE,
        {"members": "213", **SETTING},
        2,
        "Each step must leave a quorum; this step would not: etcd-1 restarts",
    ),
    ("3 to 5 members and a minor", {}, {"members": "12345", "version": "3.7.3"}, 2, "not both"),
    ("5 to 3 members and a patch", {"members": "12345", "version": "3.6.11"}, {}, 2, "not both"),
    ("one member by another name", {}, {"members": "143"}, 1, ""),
    ("two of three by other names", {}, {"members": "145"}, 1, ""),
    ("three of three by other names", {}, {"members": "456"}, 2, "A member that stays must remove the others"),
    ("the only member by another name", ONE, {"members": "2"}, 0, "a cluster of one member must grow to three first"),
    (
        "two of seven by other names",
        {"members": "1234567"},
        {"members": "1238967"},
        2,
        "9 voters at a time are more than 8",
    ),
    (
        "another name at the same address",
        {},
        {"members": "124", "addresses": {"etcd-4": "10.0.0.3"}},
        0,
        "etcd-4 joins before etcd-3 is removed, and both would have this address",
    ),
    ("another address", {}, {"addresses": {"etcd-2": "10.0.0.99"}}, 0, "A member must keep its address"),
    ("another data directory", {}, {"data_directory": "/srv/etcd"}, 0, "A member must keep its data directory"),
    ("another name of the cluster", {}, {"name": "other"}, 0, "A cluster must keep its name"),
    ("one machine replaced", FIRST, {"generations": {**G111, "etcd-2": 2}}, 1, ""),
    (
        "two machines replaced",
        FIRST,
        {"generations": {**G111, "etcd-1": 2, "etcd-2": 2}},
        2,
        "One update can replace only one machine of a cluster",
    ),
    ("a generation lowered", {"generations": {**G111, "etcd-2": 2}}, FIRST, 0, "can only rise"),
    (
        "a machine replaced and a minor",
        FIRST,
        {"generations": {**G111, "etcd-2": 2}, "version": "3.7.3"},
        2,
        "not both",
    ),
    (
        "a machine replaced and a setting",
        FIRST,
        {"generations": {**G111, "etcd-2": 2}, **SETTING},
        2,
        "no other member can restart",
    ),
    (
        "a machine replaced and more members",
        FIRST,
        {"members": "12345", "generations": {**G111, "etcd-2": 2, "etcd-4": 1, "etcd-5": 1}},
        2,
        "not both",
    ),
    (
        "the only machine replaced, its data on a volume",
        {"members": "1", "generations": {"etcd-1": 1}, "on_volumes": True},
        {"members": "1", "generations": {"etcd-1": 2}, "on_volumes": True},
        1,
        "",
    ),
    ("data to volumes", {}, {"on_volumes": True}, 0, "The data of a member must stay where they are"),
    (
        "data to volumes and a machine replaced",
        FIRST,
        {"on_volumes": True, "generations": {**G111, "etcd-2": 2}},
        0,
        "in the last update they were on the disks of their machines",
    ),
    ("the last member without a volume by another name", {}, {"members": "143", "on_volumes": True}, 1, ""),
    ("data off volumes", {"on_volumes": True}, {}, 0, "in the last update they were on volumes of their own"),
    (
        "the only machine replaced",
        {"members": "1", "generations": {"etcd-1": 1}},
        {"members": "1", "generations": {"etcd-1": 2}},
        0,
        "only copy of this cluster's data",
    ),
    ("another machine and a setting", {"identities": OLD}, {"identities": NEW, **SETTING}, 1, ""),
    (
        "another machine and one member by another name",
        {"identities": OLD},
        {"identities": NEW, "members": "245"},
        2,
        "While members are removed, all others must run",
    ),
    ("a second authority trusted", {}, {"trusted": "12"}, 1, ""),
    ("the second one issues", {"trusted": "12"}, {"trusted": "12", "issuer": "2"}, 1, ""),
    ("the first one dropped", {"trusted": "12", "issuer": "2"}, {"trusted": "2", "issuer": "2"}, 1, ""),
    ("back to the first one before it issues", {"trusted": "12"}, {}, 1, ""),
    (
        "another authority at once",
        {},
        {"trusted": "2", "issuer": "2"},
        3,
        "A CA can be removed only when none of its certificates is in use",
    ),
    ("trusted and issuing at once", {}, {"trusted": "12", "issuer": "2"}, 2, "have trusted it for one full update"),
    (
        "issuing and dropped at once",
        {"trusted": "12"},
        {"trusted": "2", "issuer": "2"},
        2,
        "in the last update, 1 issued",
    ),
    ("a second authority trusted among peers", {}, {"peers": "12"}, 1, ""),
    ("the second one issues for peers", {"peers": "12"}, {"peers": "12", "peer_issuer": "2"}, 1, ""),
    ("peers without the first one", {"peers": "12", "peer_issuer": "2"}, {"peers": "2", "peer_issuer": "2"}, 1, ""),
    (
        "another authority for peers at once",
        {},
        {"peers": "2", "peer_issuer": "2"},
        3,
        "A CA can be removed only when none of its certificates is in use",
    ),
    (
        "another authority for peers and another for all others at once",
        {},
        {"trusted": "3", "issuer": "3", "peers": "2", "peer_issuer": "2"},
        3,
        "A CA can be removed only when none of its certificates is in use",
    ),
    ("an authority for peers and a minor", {}, {"peers": "12", "version": "3.7.3"}, 2, "not both"),
    ("an authority and a minor", {}, {"trusted": "12", "version": "3.7.3"}, 2, "not both"),
    (
        "another issuer and a minor",
        {"trusted": "12"},
        {"trusted": "12", "issuer": "2", "version": "3.7.3"},
        2,
        "not both",
    ),
    (
        "an authority less and a minor",
        {"trusted": "12", "issuer": "2"},
        {"trusted": "2", "issuer": "2", "version": "3.7.3"},
        2,
        "not both",
    ),
    ("machines that have generations from now on", {}, {"generations": {**G111, "etcd-2": 2}}, 1, ""),
    ("machines that have none any more", {"generations": {**G111, "etcd-2": 2}}, {}, 1, ""),
    (
        "machines that exist for those that Pulumi made",
        {"generations": G111, "origin": CLOUD},
        {},
        0,
        "would delete those that it created; in the last update, the platform of etcd-1, etcd-2, etcd-3 was hetzner",
    ),
    (
        "the same after an older program",
        {"generations": G111, "older": True},
        {},
        0,
        "was one whose machines Pulumi creates",
    ),
    ("machines that Pulumi made for those that exist", {}, {"generations": G111, "origin": CLOUD}, 0, "was hosts"),
    (
        "another network and a minor",
        {"origin": CLOUD},
        {"origin": {**CLOUD, "network_id": "4711"}, "version": "3.7.3"},
        0,
        "Another network means other machines",
    ),
    (
        "all members but one in another network",
        {"origin": CLOUD},
        {"members": "145", "origin": OTHER},
        0,
        "of etcd-1 was",
    ),
    ("where machines come from is known from now on", {"older": True, "origin": CLOUD}, {"origin": CLOUD}, 0, ""),
    ("the same, with a setting", {"older": True, "origin": CLOUD}, {"origin": CLOUD, **SETTING}, 1, ""),
    (
        "a fact more and one less is known",
        {"origin": {**CLOUD, "fact of yesterday": "a"}},
        {"origin": {**CLOUD, "vpc_id": "b"}},
        1,
        "",
    ),
    (
        "a larger volume, two machines replaced and a minor",
        {"generations": G111, "origin": {**CLOUD, "volume": "10"}, "on_volumes": True},
        {
            "generations": {**G111, "etcd-1": 2, "etcd-2": 2},
            "origin": {**CLOUD, "volume": "20"},
            "on_volumes": True,
            "version": "3.7.3",
        },
        3,
        "not both",
    ),
    ("a machine that is known from now on", {}, {"identities": NEW, "members": "245"}, 1, ""),
    ("a machine that is not known any more", {"identities": OLD}, {"members": "245"}, 1, ""),
    ("an authority and more members", {}, {"trusted": "12", "members": "12345"}, 2, "not both"),
    (
        "everything at once",
        {"version": "3.5.24", "generations": G111},
        {
            "version": "3.7.3",
            "members": "145",
            "trusted": "2",
            "issuer": "2",
            "generations": {"etcd-1": 2, "etcd-4": 1, "etcd-5": 1},
        },
        8,
        "not both",
    ),
]


@pytest.mark.parametrize("transition", TABLE, ids=[row[0] for row in TABLE])
def test_each_change_takes_its_number_of_updates_or_is_refused(transition: Transition) -> None:
    _, before, after, count, says = transition
    previous = following(None, cluster(**before), ())
    wanted = cluster(**after)
    verdict = judge(previous, wanted)
    assert verdict.refused == bool(says), verdict.problems
    assert bool(verdict.override) == bool(verdict.problems) == bool(says)
    assert not verdict.overridden
    assert len(updates(*aligned(previous, wanted))) == count, verdict.updates
    if says:
        assert any(says in str(problem) for problem in verdict.problems), verdict.problems
        assert len(verdict.updates) == count
        assert verdict.steps == ()
    else:
        assert verdict.updates == ()


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ("aa", "bb", True),
        (MADE, "bb", True),
        ("aa", MADE, True),
        ("aa", "aa", False),
        ("aa", "", False),
        ("", "bb", False),
    ],
)
def test_a_known_authority_keeps_its_certificate(before: str, after: str, refused: bool) -> None:
    known, wanted = (
        replace(cluster(), trusted={"1": certificate}, peer_trusted={"1": certificate})
        for certificate in (before, after)
    )
    said = [str(problem) for problem in judge(following(None, known, ()), wanted).problems]
    assert (
        said
        == [
            "authorities: given another certificate for 1. A CA must keep its certificate; another "
            "certificate means another CA. Give the new CA another name, and trust both."
        ]
        * refused
    )


def test_the_peer_ca_file_is_not_a_changed_setting() -> None:
    """Etcd then reads them from another file; whether it restarts is decided by the CAs."""
    assert cluster(peers="2", peer_issuer="2").flags == cluster().flags


def test_each_reason_is_reported_once() -> None:
    """A setting that only the new release adds is not a change of settings."""
    before, after = cluster(generations=G111), cluster(version="3.5.35", generations={**G111, "etcd-2": 2})
    (problem,) = judge(following(None, before, ()), after).problems
    assert str(problem) == (
        "generation: given etcd-2. One update can change the version or the machine generations, not both. "
        "Split it into two updates."
    )


def test_the_order_of_members_changes_no_flag() -> None:
    """Not even if a flag contains an address, or if one member's address is IPv6."""
    tracing = {"distributed-tracing-address": "10.0.0.1:4317", "metrics": "extensive"}
    before = cluster(flags=tracing, metrics="private", addresses={"etcd-3": "fd00::3"})
    for members in ("213", "321", "452"):
        after = cluster(members=members, flags=tracing, metrics="private", addresses={"etcd-3": "fd00::3"})
        assert after.flags == before.flags
    assert "10.0.0.1:4317" in before.flags.values()


# A row of the table, and what its refusal proposes for each update.
WAYS = {
    "back to etcd's own times": ["the settings (--heartbeat-interval)", "the settings (--election-timeout)"],
    "other times and two minors": [
        "version: 3.6.16",
        "version: 3.7.3; the settings (--election-timeout)",
        "the settings (--heartbeat-interval)",
    ],
    "3.5 below 3.5.32 to 3.7": ["version: 3.5.35", "version: 3.6.16", "version: 3.7.3"],
    "3.7 to below 3.5.32": ["version: 3.6.16", "version: 3.5.35", "version: 3.5.24"],
    "1 to 3, one new member before the old one, with a setting": [
        "the settings (--max-txn-ops)",
        "members: etcd-2, etcd-1, etcd-3",
    ],
    "three of three by other names": [
        "members: etcd-1, etcd-2, etcd-4, etcd-5, etcd-6",
        "members: etcd-4, etcd-5, etcd-6",
    ],
    "two of seven by other names": [
        "members: etcd-4, etcd-1, etcd-2, etcd-3, etcd-8, etcd-6, etcd-7",
        "members: etcd-1, etcd-2, etcd-3, etcd-8, etcd-9, etcd-6, etcd-7",
    ],
    "another machine and one member by another name": ["the machine of etcd-2", "members: etcd-2, etcd-4, etcd-5"],
    "another authority for peers at once": ["peer_authorities: 1, 2", "peer_issuer: 2", "peer_authorities: 2"],
    "another authority for peers and another for all others at once": [
        "authorities: 1, 3; peer_authorities: 1, 2",
        "issuer: 3; peer_issuer: 2",
        "authorities: 3; peer_authorities: 2",
    ],
    "everything at once": [
        "version: 3.5.35",
        "version: 3.6.16",
        "version: 3.7.3",
        "members: etcd-1, etcd-4, etcd-5",
        "members.etcd-1.generation: 2",
        "authorities: 1, 2",
        "issuer: 2",
        "authorities: 2",
    ],
}


@pytest.mark.parametrize("change", WAYS)
def test_a_refusal_proposes_settings_for_each_update(change: str) -> None:
    _, before, after, _, _ = next(row for row in TABLE if row[0] == change)
    assert list(judge(following(None, cluster(**before), ()), cluster(**after)).updates) == WAYS[change]
