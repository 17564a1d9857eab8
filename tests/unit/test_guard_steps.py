"""How an accepted change is announced, line by line."""

from typing import Any

import pytest

from components.plan.guard import State, judge
from components.plan.guard.change import Change
from components.plan.guard.steps import Step, steps

from .test_guard_properties import THREE, TRUST, state

RAISED = {"etcd-1": 1, "etcd-2": 2, "etcd-3": 1}
HEALTH = "check the health of all members [3 voters, tolerates 1 failure]"
PREPARED = "prepare etcd-1, etcd-2, etcd-3: no member stops [3 voters, tolerates 1 failure]"
LARGER = {"--quota-backend-bytes": "16"}
DOWN = "[2 of 3 voters running, tolerates no further failure]"
RESTART = f"restarts: --quota-backend-bytes {DOWN}"
ALONE = "prepare etcd-1: no member stops [1 voter, tolerates no failure]"
ALONE_HEALTH = "check the health of all members [1 voter, tolerates no failure]"
REPLACED = f"replace the machine of etcd-2 once all others are healthy {DOWN}"
REPLACED_PREPARED = f"prepare etcd-1, etcd-2, etcd-3: no member stops {DOWN}"


def cluster(names: list[str] | None = None, version: str = "3.6.16", **changes: Any) -> State:
    return state(names or THREE, version, **changes)


def restarts(why: str) -> list[str]:
    return [f"{name} restarts: {why} {DOWN}" for name in THREE]


ANNOUNCED: dict[str, tuple[State, State, list[str]]] = {
    "nothing": (cluster(), cluster(), []),
    "a setting": (cluster(), cluster(flags=LARGER), [PREPARED, *restarts("--quota-backend-bytes"), HEALTH]),
    "authentication on": (
        cluster(["etcd-1"]),
        cluster(["etcd-1"], authentication=True, users={"reader": "read /x/"}),
        [
            ALONE,
            ALONE_HEALTH,
            "grant user reader: read /x/ [1 voter, tolerates no failure]",
            "turn authentication on: API servers and this program are root, each user has its own keys, all other "
            "certificates have no access [1 voter, tolerates no failure]",
        ],
    ),
    "other users": (
        cluster(["etcd-1"], authentication=True, users={"reader": "read /x/", "writer": "write /x/"}),
        cluster(["etcd-1"], authentication=True, users={"reader": "read /y/"}),
        [
            ALONE,
            ALONE_HEALTH,
            "remove user writer: its certificate loses all access [1 voter, tolerates no failure]",
            "grant user reader: read /y/ (before: read /x/) [1 voter, tolerates no failure]",
        ],
    ),
    "authentication off": (
        cluster(["etcd-1"], authentication=True),
        cluster(["etcd-1"]),
        [
            ALONE,
            ALONE_HEALTH,
            "turn authentication off: every certificate of the CAs, also of a former user, gives full access "
            "[1 voter, tolerates no failure]",
        ],
    ),
    "a downgrade": (
        cluster(),
        cluster(version="3.5.35"),
        [
            PREPARED,
            "save a snapshot of the data on the machine of etcd-1 [3 voters, tolerates 1 failure]",
            "enable the downgrade to etcd 3.5 [3 voters, tolerates 1 failure]",
            *restarts("etcd 3.6.16 -> 3.5.35"),
            HEALTH,
        ],
    ),
    "a patch back, which etcd need not be told": (
        cluster(["etcd-1"]),
        cluster(["etcd-1"], "3.6.11"),
        [
            ALONE,
            "save a snapshot of the data on the machine of etcd-1 [1 voter, tolerates no failure]",
            "etcd-1 restarts: etcd 3.6.16 -> 3.6.11 [the only voter: unavailable meanwhile]",
            ALONE_HEALTH,
        ],
    ),
    "growth": (
        cluster(["etcd-1"]),
        cluster(),
        [
            "prepare etcd-1, etcd-2, etcd-3: no member stops [1 voter, tolerates no failure]",
            "etcd-2 joins as a learner [1 voter, tolerates no failure]",
            "etcd-2 is promoted to voter [2 voters, tolerates no failure]",
            "etcd-3 joins as a learner [2 voters, tolerates no failure]",
            "etcd-3 is promoted to voter [3 voters, tolerates 1 failure]",
            HEALTH,
        ],
    ),
    "two for two": (
        cluster(),
        cluster(["etcd-4", "etcd-2", "etcd-5"]),
        [
            "prepare etcd-4, etcd-2, etcd-5: no member stops [3 voters, tolerates 1 failure]",
            "etcd-4 joins as a learner [3 voters, tolerates 1 failure]",
            "etcd-4 is promoted to voter [4 voters, tolerates 1 failure]",
            "etcd-5 joins as a learner [4 voters, tolerates 1 failure]",
            "etcd-5 is promoted to voter [5 voters, tolerates 2 failures]",
            "etcd-3 is removed; a leader is removed last [4 voters, tolerates 1 failure]",
            "etcd-1 is removed; a leader is removed last [3 voters, tolerates 1 failure]",
            HEALTH,
            "retire the machine of etcd-1 [3 voters, tolerates 1 failure]",
            "retire the machine of etcd-3 [3 voters, tolerates 1 failure]",
        ],
    ),
    "a machine with its disk": (
        cluster(),
        cluster(generations=RAISED),
        [
            REPLACED,
            REPLACED_PREPARED,
            "the old member etcd-2 is removed [2 voters, tolerates no failure]",
            "etcd-2 joins again and is promoted to voter [3 voters, tolerates 1 failure]",
            HEALTH,
        ],
    ),
    "a machine without its volume": (
        cluster(on_volumes=True),
        cluster(on_volumes=True, generations=RAISED),
        [REPLACED, REPLACED_PREPARED, "etcd-2 restarts with its data [3 voters, tolerates 1 failure]", HEALTH],
    ),
    "a machine that Pulumi has not made, and a setting": (
        cluster(identities={"etcd-3": "old"}),
        cluster(identities={"etcd-3": "new"}, flags=LARGER),
        [
            PREPARED,
            "etcd-3 is checked: it joins again if its disk is empty [3 voters, tolerates 1 failure]",
            f"etcd-3 {RESTART}",
            f"etcd-1 {RESTART}",
            f"etcd-2 {RESTART}",
            HEALTH,
        ],
    ),
    "one more authority": (cluster(), cluster(trusted=TRUST[1][0]), [PREPARED, *restarts("trusts CAs 1, 2"), HEALTH]),
    "one authority less": (cluster(trusted=TRUST[1][0]), cluster(), [PREPARED, *restarts("trusts CA 1"), HEALTH]),
    "one more authority, for peers alone": (
        cluster(),
        cluster(peer_trusted=TRUST[1][0]),
        [PREPARED, *restarts("trusts CAs 1, 2 for peers"), HEALTH],
    ),
    "another one issues for peers alone": (
        cluster(peer_trusted=TRUST[1][0]),
        cluster(peer_trusted=TRUST[1][0], peer_issuer="2"),
        [
            PREPARED,
            "CA 2 issues the certificates of peers: members reload them without a restart "
            "[3 voters, tolerates 1 failure]",
            HEALTH,
        ],
    ),
    "another one issues": (
        cluster(trusted=TRUST[1][0]),
        cluster(trusted=TRUST[1][0], issuer="2"),
        [
            PREPARED,
            "CA 2 issues all certificates: members reload them without a restart [3 voters, tolerates 1 failure]",
            HEALTH,
        ],
    ),
}


@pytest.mark.parametrize("change", ANNOUNCED)
def test_the_announcement_lists_the_steps_of_a_change(change: str) -> None:
    before, after, lines = ANNOUNCED[change]
    verdict = judge(before, after)
    assert [str(step) for step in verdict.steps] == lines
    assert verdict.problems == ()


def test_a_bootstrap_is_announced() -> None:
    assert [str(step) for step in judge(None, cluster()).steps] == [
        "prepare etcd-1, etcd-2, etcd-3: no member starts yet [3 voters, tolerates 1 failure]",
        "bootstrap a new cluster of etcd-1, etcd-2, etcd-3 [3 voters, tolerates 1 failure]",
        HEALTH,
    ]


@pytest.mark.parametrize("where", [(False, True), (True, False)])
def test_data_without_a_volume_is_lost_with_its_machine(where: tuple[bool, bool]) -> None:
    """An override may lead there."""
    before, after = where
    announced = steps(Change(cluster(on_volumes=before), cluster(on_volumes=after, generations=RAISED)))
    assert "the old member etcd-2 is removed [2 voters, tolerates no failure]" in map(str, announced)


def test_a_lost_quorum_is_announced() -> None:
    assert str(Step("it ends", 3, 1)) == "it ends [1 of 3 voters running, no quorum]"
    assert not Step("it ends", 3, 0).only_member
