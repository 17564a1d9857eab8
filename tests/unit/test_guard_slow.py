"""What the announcement says of slow disks and links: which are accepted, and which members have them."""

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan.acknowledge import ACKNOWLEDGED
from components.plan.applied import measurements
from components.plan.guard import State, Verdict, judge
from components.plan.guard.change import Change
from components.plan.guard.state import following
from components.plan.guard.steps import Step
from components.plan.timers import links, longest
from components.review.announced import PREPARE, announced, slow_note

from . import test_guard_migration as migrations
from .test_guard_properties import THREE, states, wishes
from .test_guard_steps import LARGER, RAISED, cluster

FIVE = [*THREE, "etcd-4", "etcd-5"]
SLOW, TOO_SLOW = (
    {"fdatasync_p99_ms": 12.5, "fdatasync_average_ms": 4.0},
    {"fdatasync_p99_ms": 44.2, "fdatasync_average_ms": 31.0},
)
OLDER = {"fdatasync_p99_ms": 44.2}
"""From a program that recorded no average."""
BOTH = ("slow-disk", "slow-link")
MEASUREMENT = st.fixed_dictionaries(
    {},
    optional={
        "fdatasync_average_ms": st.floats(0, 60),
        "fdatasync_p99_ms": st.floats(0, 100),
        "round_trips_ms": st.dictionaries(st.sampled_from(FIVE), st.floats(0, 2000)),
    },
)
ACKNOWLEDGE = st.lists(st.sampled_from(sorted(ACKNOWLEDGED)), unique=True)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """What machines have measured, as an output has it: as far as it is known."""
    found: dict[str, dict[str, Any]] = draw(st.dictionaries(st.sampled_from(FIVE), MEASUREMENT))
    return {
        name: {**each, **({"round_trips_ms_at": float(draw(st.integers(0, 9)))} if "round_trips_ms" in each else {})}
        for name, each in found.items()
    }


def trips(links: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {name: {"round_trips_ms": each, "round_trips_ms_at": 1} for name, each in links.items()}


def prepared(before: State | None, after: State, acknowledge: Sequence[str]) -> str:
    """The step `prepare ...` without its quorum."""
    steps = [step.text for step in judge(before, after, acknowledge=acknowledge).steps]
    (found,) = [text for text in steps if text.startswith("prepare ")]
    return found


@pytest.mark.parametrize(
    ("before", "after", "accepted"),
    [
        (None, cluster(), "no member starts yet; a slow disk or link is accepted"),
        (None, cluster(restored=1, restored_from="x.db", restores="x.db"), "no member stops; a slow disk is accepted"),
        (cluster(), cluster(FIVE), "no member stops; a slow disk or link is accepted for etcd-4, etcd-5"),
        (
            cluster(),
            cluster(["etcd-1", "etcd-4", "etcd-3"]),
            "no member stops; a slow disk or link is accepted for etcd-4",
        ),
        (cluster(), cluster(generations=RAISED), "no member stops; a slow disk or link is accepted for etcd-2"),
        # Its data are there, so nothing is measured.
        (cluster(on_volumes=True), cluster(on_volumes=True, generations=RAISED), "no member stops"),
        (
            cluster(identities={"etcd-3": "old"}),
            cluster(identities={"etcd-3": "new"}),
            "no member stops; a slow disk or link is accepted for etcd-3",
        ),
        (
            cluster(identities={"etcd-3": "old"}),
            cluster(identities={"etcd-3": "new"}, restored=1, restored_from="x.db", restores="x.db"),
            "no member stops; a slow disk is accepted for etcd-3",
        ),
        (cluster(), cluster(flags=LARGER), "no member stops"),
        (cluster(), cluster(["etcd-1"]), "no member stops"),
        (migrations.after(""), migrations.state("join"), "no member stops; a slow disk or link is accepted"),
        (migrations.after("join"), migrations.state("switch"), "no member stops"),
    ],
)
def test_what_new_machines_may_be_is_announced_where_they_measure(
    before: State | None, after: State, accepted: str
) -> None:
    assert prepared(before, after, BOTH).partition(": ")[2] == accepted
    disk = accepted.replace("disk or link", "disk")
    assert prepared(before, after, ["slow-disk"]).partition(": ")[2] == disk
    assert "accepted" not in prepared(before, after, [])


def noted(measured: dict[str, Any], acknowledge: Sequence[str] = (), after: State | None = None) -> tuple[str, ...]:
    changed = after or cluster(flags=LARGER)
    return judge(cluster(), changed, acknowledge=acknowledge, measured=measured).notes


def test_a_note_names_slow_disks_with_their_figures() -> None:
    fast = {"fdatasync_p99_ms": 10.0, "fdatasync_average_ms": 20.0}
    assert noted(dict.fromkeys(THREE, fast)) == ()
    assert noted({"etcd-1": fast, "etcd-2": SLOW}, ["slow-link"]) == (
        "Slow disks when last measured: etcd-2 (p99 12.5 ms). etcd recommends a p99 below 10 ms. Acknowledged: no.",
    )
    assert noted({"etcd-3": OLDER, "etcd-2": SLOW, "etcd-1": TOO_SLOW}, ["slow-disk"]) == (
        "Slow disks when last measured: etcd-1 (p99 44.2 ms, average 31.0 ms), etcd-2 (p99 12.5 ms), etcd-3 (p99 44.2 "
        "ms). etcd recommends a p99 below 10 ms and requires an average below 20 ms. Acknowledged: yes.",
    )


def test_a_note_names_links_that_are_slow_for_the_election_timeout() -> None:
    measured = trips({"etcd-1": {"etcd-2": 99.0, "etcd-3": 140.2}, "etcd-3": {"etcd-2": 151.0}})
    assert noted(measured, ["slow-link"]) == (
        "Slow links when last measured: etcd-2 to etcd-3 (151 ms), etcd-1 to etcd-3 (140 ms). etcd requires at most "
        "100 ms, a tenth of the election timeout. Acknowledged: yes.",
    )
    timers = {**LARGER, "--heartbeat-interval": "200", "--election-timeout": "1500"}
    assert noted(measured, after=cluster(flags=timers)) == (
        "Slow links when last measured: etcd-2 to etcd-3 (151 ms). etcd requires at most 150 ms, a tenth of the "
        "election timeout. Acknowledged: no.",
    )


def test_many_slow_links_are_counted() -> None:
    seven = [f"etcd-{number}" for number in range(1, 8)]
    measured = trips({one: {other: 140.0 for other in seven if other != one} for one in seven})
    (note,) = judge(cluster(seven), cluster(seven, flags=LARGER), measured=measured).notes
    assert note.count(" to etcd-") == 7
    assert "(140 ms), and 14 more. etcd requires" in note


def test_a_machine_that_is_replaced_has_no_note() -> None:
    """What was measured is that of the machine before."""
    measured = {"etcd-2": {**TOO_SLOW, **trips({"": {"etcd-1": 500.0}})[""]}}
    assert len(noted(measured)) == 2
    assert noted(measured, after=cluster(generations=RAISED)) == ()
    assert noted(measured, after=cluster(["etcd-1", "etcd-4", "etcd-3"])) == ()
    before, after = (cluster(identities={"etcd-2": each}) for each in ("old", "new"))
    assert judge(before, after, measured=measured).notes == ()


def test_without_steps_there_is_no_note() -> None:
    measured = {"etcd-2": TOO_SLOW}
    assert noted(measured, after=cluster()) == ()
    refused = judge(cluster(), cluster(version="3.4.1"), measured=measured)
    assert (refused.refused, refused.notes) == (True, ())
    overridden = judge(cluster(), cluster(version="3.4.1"), refused.override, measured=measured)
    assert len(overridden.notes) == 1
    looked = judge(cluster(), cluster(drift_check="today"), measured=measured)
    assert len(looked.steps) == len(looked.notes) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=2),
    lambda below: (
        st.lists(below, max_size=2)
        | st.dictionaries(st.sampled_from([*THREE, *SLOW, "round_trips_ms", "round_trips_ms_at"]), below)
    ),
)


@given(JSON)
def test_no_answer_of_a_machine_hinders_a_later_update(answer: object) -> None:
    known = measurements({"measured": answer})
    assert longest(known, THREE) is None or links(known, THREE)
    for note in judge(cluster(), cluster(flags=LARGER), measured=known).notes:
        assert slow_note(note), note


@given(answers())
def test_what_machines_have_measured_is_read_as_it_is(measured: dict[str, Any]) -> None:
    assert measurements({"measured": measured}) == measured


def _accepted(verdict: Verdict) -> list[str]:
    found = [announced(f" 1. {step}") for step in verdict.steps]
    return [each.slow for each in found if each is not None and each.kind == PREPARE]


@given(st.data(), ACKNOWLEDGE, answers())
def test_what_is_slow_is_said_exactly_of_whom_it_concerns(
    data: st.DataObject, acknowledge: list[str], measured: dict[str, Any]
) -> None:
    before = following(None, data.draw(states()), ())
    wanted = data.draw(wishes(before))
    plain = judge(before, wanted)
    verdict = judge(before, wanted, acknowledge=acknowledge, measured=measured)
    # It changes nothing of the decision, nor of what the next update is compared with.
    assert (verdict.problems, verdict.chain, verdict.state) == (plain.problems, plain.chain, plain.state)
    unaccepted = [Step(step.text.partition("; a slow ")[0], step.voters, step.serving) for step in verdict.steps]
    assert [step for step in unaccepted if step.text.startswith("prepare ")] == [
        step for step in plain.steps if step.text.startswith("prepare ")
    ]
    if not verdict.steps:
        assert verdict.notes == ()
        return
    change = Change(before, wanted)
    new = change.new_machines
    assert any(_accepted(verdict)) == bool(new and acknowledge)
    for text in filter(None, _accepted(verdict)):
        words = re.findall(r"[\w-]+", text)
        named = {word for word in words if word.startswith("etcd-")}
        assert named in ({*new}, set())
        assert ("disk" in words, "link" in words) == ("slow-disk" in acknowledge, "slow-link" in acknowledge)
    said = " ".join(verdict.notes)
    here = [name for name in change.staying if name not in (*change.replaced, *change.other_machine)]
    for name in FIVE:
        found = measured.get(name, {})
        slow = found.get("fdatasync_p99_ms", 0) > 10 or (
            "fdatasync_p99_ms" in found and found.get("fdatasync_average_ms", 0) > 20
        )
        assert (f"{name} (p99 " in said) == (slow and name in here)
    for one, other in combinations(here, 2):
        trip = links(measured, here).get((one, other), 0)
        if ", and " not in said:
            assert (f"{one} to {other} (" in said) == (trip > wanted.election_ms / 10)
    for note in verdict.notes:
        key = "slow-disk" if " disks " in note else "slow-link"
        assert note.endswith(f"Acknowledged: {'yes' if key in acknowledge else 'no'}.")
        shown = slow_note(f"    {note}")
        assert shown.endswith("acknowledged"), note
        assert len(shown) < len(note)


@given(answers(), st.lists(st.sampled_from(FIVE), unique=True))
def test_the_longest_link_is_known_if_all_are(measured: dict[str, Any], names: list[str]) -> None:
    known, every = links(measured, names), list(combinations(names, 2))
    assert {*known} <= {*every}
    expected = max(known.values(), default=0.0) if len(known) == len(every) else None
    assert longest(measured, names) == expected
    for (one, other), trip in known.items():
        ends = [(measured.get(name, {}), peer) for name, peer in ((one, other), (other, one))]
        there = [
            (end["round_trips_ms_at"], end["round_trips_ms"][peer])
            for end, peer in ends
            if peer in end.get("round_trips_ms", {})
        ]
        assert trip == max(there)[1]


@pytest.mark.parametrize(
    "line",
    [
        "Slow disks when last measured: etcd-1 (p99 canary). etcd recommends a p99 below 10 ms. Acknowledged: no.",
        "Slow disks when last measured: etcd-1 (p99 12.5 ms). etcd recommends a canary. Acknowledged: no.",
        "Slow disks when last measured: etcd-1 (p99 12.5 ms). etcd recommends a p99 below 10 ms. Acknowledged: canary.",
        "Slow canaries when last measured: etcd-1 (p99 12.5 ms). etcd recommends a p99 below 10 ms. Acknowledged: no.",
    ],
)
def test_a_line_of_another_form_is_no_note(line: str) -> None:
    assert slow_note(line) == ""


def test_a_note_is_shown_shortly() -> None:
    measured = {"etcd-1": SLOW, "etcd-2": TOO_SLOW}
    assert (
        slow_note(noted(measured)[0])
        == "`etcd-1` (p99 12.5 ms), `etcd-2` (p99 44.2 ms, average 31.0 ms): not acknowledged"
    )
    measured = trips({"etcd-1": {"etcd-3": 140.0}})
    assert slow_note(noted(measured, BOTH)[0]) == "`etcd-1` to `etcd-3` (140 ms): acknowledged"
