"""What others have changed on machines, from the last look to the steps of the next update."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan.drift import check_drift_check, put_right, restarts
from components.plan.guard import State, judge, read_state

from .test_guard_properties import state

NAMES = [f"etcd-{number}" for number in range(1, 4)]
LOOKS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9:._+-]{0,63}", fullmatch=True)
LINES = st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1), max_size=12)
DRIFT = st.dictionaries(st.sampled_from([*NAMES, "etcd-9"]), LINES)


@given(LOOKS)
def test_a_look_has_any_such_text(text: str) -> None:
    assert check_drift_check(text, "driftCheck") == []


@pytest.mark.parametrize("text", ["two words", "a;b", "-", "x" * 65, "ä"])
def test_another_text_is_refused(text: str) -> None:
    [problem] = check_drift_check(text, "driftCheck")
    assert (problem.key, problem.value) == ("driftCheck", text)


@given(DRIFT, LOOKS)
def test_what_was_found_is_put_right_once(found: dict[str, list[str]], look: str) -> None:
    """The first update after a look has steps for exactly the members with drift; the second one has none."""
    looked = {**state(NAMES, drift_check=look).data(), "drift": found}
    before = read_state(looked)
    assert before is not None
    first = put_right(looked, NAMES)
    assert set(first) == {name for name, lines in found.items() if lines and name in NAMES}
    verdict = judge(before, state(NAMES, drift_check=look, put_right=first))
    about = {name for step in verdict.steps for name in NAMES if step.text.startswith(f"{name} ")}
    assert about == set(first)
    assert not verdict.problems
    assert verdict.state.serial == before.serial, "the configuration is the same"

    after = {**verdict.state.data(), "drift": {name: [] for name in found}}
    left = read_state(after)
    assert left is not None
    assert put_right(after, NAMES) == first
    assert judge(left, state(NAMES, drift_check=look, put_right=first)).steps == ()


@given(DRIFT)
def test_a_member_stops_only_if_its_process_differs(found: dict[str, list[str]]) -> None:
    looked = {**state(NAMES, drift_check="x").data(), "drift": found}
    before = read_state(looked)
    assert before is not None
    wanted = put_right(looked, NAMES)
    steps = judge(before, state(NAMES, drift_check="x", put_right=wanted)).steps
    stopped = [step.text.partition(" ")[0] for step in steps if step.serving < step.voters]
    assert stopped == [name for name in NAMES if restarts(wanted.get(name, ""))]
    assert all(step.spare >= 0 for step in steps)


@pytest.mark.parametrize(
    ("line", "stops"),
    [
        ("etcd runs with another setting: --quota-backend-bytes", True),
        ("/opt/etcd/v3.6.16/etcd is not what its archive had", True),
        ("/opt/etcd/v3.6.16/etcdctl is not what its archive had", False),
        ("/etc/etcd/pki/peer.crt is missing", False),
        ("etcd does not run (failed)", False),
    ],
)
def test_which_drift_restarts_a_member(line: str, stops: bool) -> None:
    assert restarts(line) == stops


def test_a_restart_is_announced_however_much_else_was_found() -> None:
    """Machines name what concerns the process last, and a preview shows only a part."""
    lines = [f"/etc/etcd/{number} {'x' * 200}" for number in range(9)]
    for last in ("etcd runs with another setting: --x", "/opt/etcd/v3.6.16/etcd is not what its archive had"):
        looked = {**state(NAMES, drift_check="x").data(), "drift": {"etcd-2": [*lines, last]}}
        text = put_right(looked, NAMES)["etcd-2"]
        assert restarts(text)
        assert text.endswith("; and 4 more")


def test_what_was_found_stays_one_line() -> None:
    """It becomes a line of what `prepare` reads, before the line with secrets, and one of a preview."""
    looked = {**state(NAMES, drift_check="x").data(), "drift": {"etcd-2": ["/a leads to x\n{}\x1b[31m, not to /b"]}}
    assert put_right(looked, NAMES) == {"etcd-2": "x: /a leads to x?{}?[31m, not to /b"}


def test_a_look_alone_is_one_step_and_a_removed_member_is_forgotten() -> None:
    before = read_state(state(NAMES).data())
    assert before is not None
    verdict = judge(before, state(NAMES, drift_check="x"))
    assert [step.text for step in verdict.steps] == ["look for what others have changed on etcd-1, etcd-2, etcd-3"]
    looked = {**state(NAMES, drift_check="x").data(), "drift": {"etcd-3": ["y is missing"]}}
    assert put_right(looked, NAMES[:2]) == {}
    assert put_right(None, NAMES) == {}


def test_only_machines_that_are_asked_are_announced() -> None:
    def looked(before: State | None, wanted: State) -> list[str]:
        said = [step.text for step in judge(before, wanted).steps]
        return [text.rpartition(" on ")[2] for text in said if text.startswith("look for")]

    asked = state(NAMES, drift_check="x")
    assert looked(None, asked) == ["etcd-1, etcd-2, etcd-3"]
    assert looked(None, state(NAMES)) == []
    before = read_state(asked.data())
    assert looked(before, asked) == []
    assert looked(before, state(NAMES, drift_check="x", put_right={"etcd-2": "x: y is missing"})) == ["etcd-2"]
    assert looked(before, state([*NAMES, "etcd-4"], drift_check="x")) == ["etcd-4"]
    assert looked(before, state([*NAMES, "etcd-4"], drift_check="z")) == ["etcd-1, etcd-2, etcd-3, etcd-4"]


def test_a_setting_in_the_same_update_restarts_the_member_once() -> None:
    looked = {**state(NAMES, drift_check="x").data(), "drift": {"etcd-2": ["y is missing"]}}
    before = read_state(looked)
    assert before is not None
    wanted = state(NAMES, drift_check="x", put_right=put_right(looked, NAMES), flags={"--quota-backend-bytes": "9"})
    said = [step.text for step in judge(before, wanted).steps]
    assert [text for text in said if text.startswith("etcd-2 ")] == ["etcd-2 restarts: --quota-backend-bytes"]
    assert said[-1].startswith("look for")
