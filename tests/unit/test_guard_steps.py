"""How an accepted change is announced, line by line."""

from typing import Any

import pytest

from components.plan.guard import State, judge
from components.plan.guard.change import Change
from components.plan.guard.steps import Step, steps

from .test_guard_properties import THREE, TRUST, state

RAISED = {"etcd-1": 1, "etcd-2": 2, "etcd-3": 1}
HEALTH = "check the health of all members [3 voters, 1 may be lost]"
PREPARED = "prepare etcd-1, etcd-2, etcd-3: nothing stops [3 voters, 1 may be lost]"
LARGER = {"--quota-backend-bytes": "16"}
RESTART = "restarts: --quota-backend-bytes [2 of 3 voters serve, none more may be lost]"


def cluster(names: list[str] | None = None, version: str = "3.6.16", **changes: Any) -> State:
    return state(names or THREE, version, **changes)


ANNOUNCED: dict[str, tuple[State, State, list[str]]] = {
    "nothing": (cluster(), cluster(), []),
    "a setting": (
        cluster(),
        cluster(flags=LARGER),
        [PREPARED, *(f"{name} {RESTART}" for name in THREE), HEALTH],
    ),
    "authentication on": (
        cluster(["etcd-1"]),
        cluster(["etcd-1"], authentication=True, users={"reader": "read /x/"}),
        [
            "prepare etcd-1: nothing stops [1 voter, none may be lost]",
            "check the health of all members [1 voter, none may be lost]",
            "the user reader gets: read /x/ [1 voter, none may be lost]",
            "turn authentication on: root for API servers and this program, its keys for each user; every other "
            "certificate reaches nothing [1 voter, none may be lost]",
        ],
    ),
    "other users": (
        cluster(["etcd-1"], authentication=True, users={"reader": "read /x/", "writer": "write /x/"}),
        cluster(["etcd-1"], authentication=True, users={"reader": "read /y/"}),
        [
            "prepare etcd-1: nothing stops [1 voter, none may be lost]",
            "check the health of all members [1 voter, none may be lost]",
            "remove the user writer: its certificate reaches no key any more [1 voter, none may be lost]",
            "the user reader gets: read /y/, instead of: read /x/ [1 voter, none may be lost]",
        ],
    ),
    "authentication off": (
        cluster(["etcd-1"], authentication=True),
        cluster(["etcd-1"]),
        [
            "prepare etcd-1: nothing stops [1 voter, none may be lost]",
            "check the health of all members [1 voter, none may be lost]",
            "turn authentication off: every certificate of the CAs can do everything, also those of former users "
            "[1 voter, none may be lost]",
        ],
    ),
    "a downgrade": (
        cluster(),
        cluster(version="3.5.35"),
        [
            PREPARED,
            "keep a snapshot of the data on the machine of etcd-1 [3 voters, 1 may be lost]",
            "enable etcd's downgrade to 3.5 [3 voters, 1 may be lost]",
            *(f"{name} restarts: etcd 3.6.16 -> 3.5.35 [2 of 3 voters serve, none more may be lost]" for name in THREE),
            HEALTH,
        ],
    ),
    "a patch back, which etcd need not be told": (
        cluster(["etcd-1"]),
        cluster(["etcd-1"], "3.6.11"),
        [
            "prepare etcd-1: nothing stops [1 voter, none may be lost]",
            "keep a snapshot of the data on the machine of etcd-1 [1 voter, none may be lost]",
            "etcd-1 restarts: etcd 3.6.16 -> 3.6.11 [the only voter: no answer meanwhile]",
            "check the health of all members [1 voter, none may be lost]",
        ],
    ),
    "growth": (
        cluster(["etcd-1"]),
        cluster(),
        [
            "prepare etcd-1, etcd-2, etcd-3: nothing stops [1 voter, none may be lost]",
            "etcd-2 joins as a learner [1 voter, none may be lost]",
            "etcd-2 becomes a voter [2 voters, none may be lost]",
            "etcd-3 joins as a learner [2 voters, none may be lost]",
            "etcd-3 becomes a voter [3 voters, 1 may be lost]",
            HEALTH,
        ],
    ),
    "two for two": (
        cluster(),
        cluster(["etcd-4", "etcd-2", "etcd-5"]),
        [
            "prepare etcd-4, etcd-2, etcd-5: nothing stops [3 voters, 1 may be lost]",
            "etcd-4 joins as a learner [3 voters, 1 may be lost]",
            "etcd-4 becomes a voter [4 voters, 1 may be lost]",
            "etcd-5 joins as a learner [4 voters, 1 may be lost]",
            "etcd-5 becomes a voter [5 voters, 2 may be lost]",
            "etcd-3 leaves; the leader last [4 voters, 1 may be lost]",
            "etcd-1 leaves; the leader last [3 voters, 1 may be lost]",
            HEALTH,
            "retire the machine of etcd-1 [3 voters, 1 may be lost]",
            "retire the machine of etcd-3 [3 voters, 1 may be lost]",
        ],
    ),
    "a machine with its disk": (
        cluster(),
        cluster(generations=RAISED),
        [
            "replace the machine of etcd-2 when all others are healthy [2 of 3 voters serve, none more may be lost]",
            "prepare etcd-1, etcd-2, etcd-3: nothing stops [2 of 3 voters serve, none more may be lost]",
            "the entry of etcd-2 leaves [2 voters, none may be lost]",
            "etcd-2 joins anew and becomes a voter [3 voters, 1 may be lost]",
            HEALTH,
        ],
    ),
    "a machine without its volume": (
        cluster(on_volumes=True),
        cluster(on_volumes=True, generations=RAISED),
        [
            "replace the machine of etcd-2 when all others are healthy [2 of 3 voters serve, none more may be lost]",
            "prepare etcd-1, etcd-2, etcd-3: nothing stops [2 of 3 voters serve, none more may be lost]",
            "etcd-2 comes back with its data [3 voters, 1 may be lost]",
            HEALTH,
        ],
    ),
    "a machine that Pulumi has not made, and a setting": (
        cluster(identities={"etcd-3": "old"}),
        cluster(identities={"etcd-3": "new"}, flags=LARGER),
        [
            PREPARED,
            "etcd-3 is looked at: it joins anew if its disk is empty [3 voters, 1 may be lost]",
            f"etcd-3 {RESTART}",
            f"etcd-1 {RESTART}",
            f"etcd-2 {RESTART}",
            HEALTH,
        ],
    ),
    "one more authority": (
        cluster(),
        cluster(trusted=TRUST[1][0]),
        [
            PREPARED,
            *(
                f"{name} restarts: trusts the authorities 1, 2 [2 of 3 voters serve, none more may be lost]"
                for name in THREE
            ),
            HEALTH,
        ],
    ),
    "one authority less": (
        cluster(trusted=TRUST[1][0]),
        cluster(),
        [
            PREPARED,
            *(
                f"{name} restarts: trusts the authorities 1 [2 of 3 voters serve, none more may be lost]"
                for name in THREE
            ),
            HEALTH,
        ],
    ),
    "one more authority, for peers alone": (
        cluster(),
        cluster(peer_trusted=TRUST[1][0]),
        [
            PREPARED,
            *(
                f"{name} restarts: trusts the authorities 1, 2 for peers [2 of 3 voters serve, none more may be lost]"
                for name in THREE
            ),
            HEALTH,
        ],
    ),
    "another one issues for peers alone": (
        cluster(peer_trusted=TRUST[1][0]),
        cluster(peer_trusted=TRUST[1][0], peer_issuer="2"),
        [
            PREPARED,
            "the certificates of peers are issued by 2: read again without a restart [3 voters, 1 may be lost]",
            HEALTH,
        ],
    ),
    "another one issues": (
        cluster(trusted=TRUST[1][0]),
        cluster(trusted=TRUST[1][0], issuer="2"),
        [
            PREPARED,
            "all certificates are issued by 2: read again without a restart [3 voters, 1 may be lost]",
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
        "prepare etcd-1, etcd-2, etcd-3: nothing starts [3 voters, 1 may be lost]",
        "start etcd-1, etcd-2, etcd-3 together as a new cluster [3 voters, 1 may be lost]",
        HEALTH,
    ]


@pytest.mark.parametrize("where", [(False, True), (True, False)])
def test_data_without_a_volume_is_lost_with_its_machine(where: tuple[bool, bool]) -> None:
    """An override may lead there."""
    before, after = where
    announced = steps(Change(cluster(on_volumes=before), cluster(on_volumes=after, generations=RAISED)))
    assert "the entry of etcd-2 leaves [2 voters, none may be lost]" in map(str, announced)


def test_a_lost_quorum_is_announced() -> None:
    assert str(Step("it ends", 3, 1)) == "it ends [1 of 3 voters serve, no quorum]"
    assert not Step("it ends", 3, 0).only_member
