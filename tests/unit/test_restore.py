"""A restore is confirmed, of this cluster's data, of a version that etcd can read, and made once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import ChangeRefusedError
from components.node.protocol.snapshot_file import DamagedError, read
from components.plan.guard import judge, read_state
from components.plan.restore import RestorePlan, check_restore
from components.restore import restores_of
from stacks import config, guard
from tests.support.configurations import example, load
from tests.support.snapshot_files import snapshot

from .test_guard_properties import THREE, state

CLUSTER = "hetzner"


def stack(path: Path | None, /, *, settings: dict[str, Any] | None = None, **restore: Any) -> config.StackConfig:
    values = {**example("hetzner"), "clusterName": CLUSTER, **(settings or {})}
    if path is not None:
        values["restore"] = {"from": str(path), "confirm": CLUSTER, **restore}
    return load(values, stack=CLUSTER)


def left(before: config.StackConfig, **changes: Any) -> dict[str, Any]:
    """The outputs of an update with that configuration."""
    return {"applied": {**guard.wanted(before).data(), "serial": 1, **changes}}


def refusal(wanted: config.StackConfig, last: dict[str, Any]) -> str:
    with pytest.raises((ChangeRefusedError, config.ConfigError)) as caught:
        guard.compared(wanted, last)
    return str(caught.value)


def test_a_snapshot_says_what_it_is(tmp_path: Path) -> None:
    found = read(snapshot(tmp_path / "a.db", "production", "3.5.0", (5, 129, 300)))
    assert (found.cluster, found.series, found.revision) == ("production", "3.5", 300)
    assert len(found.sha256) == 64
    bare = read(snapshot(tmp_path / "b.db", "", ""))
    assert (bare.cluster, bare.series, bare.revision) == ("", "", 300)


@given(st.data())
def test_a_snapshot_with_one_other_byte_or_a_missing_end_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.db"
    content = bytearray(snapshot(path).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read(path)


def test_a_copy_of_a_database_without_a_checksum_is_damaged(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "a.db", whole=False)
    with pytest.raises(DamagedError, match="does not match"):
        read(path)
    path.write_bytes(path.read_bytes()[:-32])
    with pytest.raises(DamagedError, match="are not a snapshot with a checksum"):
        read(path)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"confirm": "other"}, "restore.confirm"),
        ({"number": 0}, "restore.number"),
        ({"accept": ["everything"]}, "restore.accept"),
    ],
)
def test_a_restore_must_be_confirmed_by_the_clusters_name(tmp_path: Path, given: dict[str, Any], key: str) -> None:
    with pytest.raises(config.ConfigError, match=key):
        stack(snapshot(tmp_path / "a.db", CLUSTER), **given)
    with pytest.raises(config.ConfigError, match=r"restore\.confirm: given nothing"):
        load({**example("hetzner"), "restore": {"from": "a.db"}})


def test_a_restore_is_not_possible_in_a_migration() -> None:
    problems = check_restore(RestorePlan("a.db", "test"), "test", migrating=True)
    assert [each.key for each in problems] == ["restore"]


def test_a_damaged_or_missing_snapshot_is_refused_before_anything_changes(tmp_path: Path) -> None:
    before = left(stack(None))
    assert "restore.from: " in refusal(stack(tmp_path / "none.db"), before)
    damaged = snapshot(tmp_path / "a.db", CLUSTER, whole=False)
    assert "the SHA-256 at its end does not match" in refusal(stack(damaged), before)


def test_a_snapshot_of_another_cluster_is_refused(tmp_path: Path) -> None:
    before = left(stack(None))
    other = snapshot(tmp_path / "a.db", "other")
    said = refusal(stack(other, accept=["unknown-cluster"]), before)
    assert "The snapshot is of the cluster other, not of hetzner" in said
    unknown = snapshot(tmp_path / "b.db", "")
    assert "set restore.accept to [unknown-cluster]" in refusal(stack(unknown), before)
    guard.compared(stack(unknown, accept=["unknown-cluster"]), before)


@pytest.mark.parametrize(("theirs", "fits"), [("3.5.0", True), ("3.6.0", True), ("3.7.0", False), ("3.4.0", False)])
def test_a_snapshot_is_of_this_minor_version_or_the_one_before(tmp_path: Path, theirs: str, fits: bool) -> None:
    wanted = stack(snapshot(tmp_path / "a.db", CLUSTER, theirs), settings={"version": "3.6.16"})
    before = left(stack(None, settings={"version": "3.6.16"}))
    if fits:
        guard.compared(wanted, before)
    else:
        assert "etcd 3.6.16 is made for data of its own minor version and the one before" in refusal(wanted, before)


def test_a_restore_that_was_made_needs_no_file_and_is_not_made_again(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "a.db", CLUSTER)
    wanted = stack(path)
    done = left(wanted)
    path.unlink()
    now = guard.compared(wanted, done)
    assert now.plan.restore is not None
    assert not now.plan.restore.pending
    verdict = judge(read_state(done["applied"]), guard.wanted(now))
    assert (verdict.steps, verdict.problems) == ((), ())

    assert "The restore 1 is complete, from " in refusal(stack(tmp_path / "b.db"), done)
    assert "restore.from: " in refusal(stack(path, number=2), done), "the file is read again"
    snapshot(path, CLUSTER)
    assert judge(read_state(done["applied"]), guard.wanted(guard.compared(stack(path, number=2), done))).steps
    assert "Each restore has a higher number" in refusal(stack(path, number=2), left(stack(path, number=3)))


def test_a_restore_that_was_removed_from_the_configuration_stays_made(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "a.db", CLUSTER)
    done = left(stack(path))
    without = guard.compared(stack(None), done)
    verdict = judge(read_state(done["applied"]), guard.wanted(without))
    assert verdict.steps == ()
    assert (verdict.state.restored, verdict.state.restore_listed) == (1, False)
    again = {"applied": verdict.state.data()}
    now = guard.compared(stack(path), again)
    assert restores_of(now.plan.restore, again["applied"]) == (["1"], False, False)
    assert judge(read_state(again["applied"]), guard.wanted(now)).steps == ()


RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
KEY = "# created: 2026-11-29\nAGE-SECRET-KEY-1" + "Q" * 58 + "\n"
NAME = f"{CLUSTER}-20261129T160000Z-r48211.db.gz.age"
BACKUP = {"recipients": [RECIPIENT], "s3": {"bucket": "etcd-backups", "prefix": "x", "region": "eu"}}


def from_store(
    source: str = "newest", /, *, settings: dict[str, Any] | None = None, **restore: Any
) -> config.StackConfig:
    values = {"from": source, "confirm": CLUSTER, "identity": KEY, **restore}
    values = {key: value for key, value in values.items() if value is not None}
    return stack(None, settings={"backup": BACKUP, **(settings or {}), "restore": values})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("newest", "restore the newest snapshot in s3:etcd-backups/x at the time of this update beside"),
        (NAME, f"restore {NAME} in s3:etcd-backups/x (of 2026-11-29 16:00:00 UTC, revision 48211) beside"),
    ],
)
def test_a_snapshot_in_the_store_is_announced_as_far_as_it_is_known(source: str, words: str) -> None:
    wanted, before = from_store(source), left(stack(None))
    for last in (before, {}):
        now = guard.compared(wanted, last)
        steps = [str(step) for step in judge(read_state(last.get("applied")), guard.wanted(now)).steps]
        assert words in steps[1]
        assert "EVERYTHING WRITTEN AFTER THE SNAPSHOT IS LOST" in steps[2]
    assert KEY not in str(guard.compared(wanted, before).plan)


def test_the_newest_snapshot_that_the_last_update_knew_is_named() -> None:
    found = {"name": NAME, "place": "s3:etcd-backups/x", "taken": "2026-11-29T16:00:00Z"}
    last = {**left(stack(None)), "backup": found}
    said = guard.newest_known(guard.compared(from_store(), last), last)
    assert said.startswith(f"The newest snapshot that the last update knew is {NAME} in s3:etcd-backups/x, of 2026-11")
    done = {**left(from_store()), "backup": found}
    for now, before in ((from_store(NAME), last), (from_store(), {**last, "backup": {}}), (from_store(), done)):
        assert guard.newest_known(guard.compared(now, before), before) == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"identity": None}, "restore.identity: given nothing"),
        ({"settings": {"backup": None}}, "restore.from: given newest"),
    ],
)
def test_the_machines_must_have_a_key_and_a_way_to_the_store(given: dict[str, Any], said: str) -> None:
    assert said in refusal(from_store(**given), left(stack(None)))


def test_a_name_of_another_cluster_and_a_key_for_a_file_are_refused(tmp_path: Path) -> None:
    before = left(stack(None))
    said = refusal(from_store("other-20261129T160000Z-r48211.db.gz.age"), before)
    assert "The snapshot is of the cluster other, not of hetzner" in said
    said = refusal(stack(snapshot(tmp_path / "a.db", CLUSTER), identity=KEY), before)
    assert "restore.identity: given a text (not shown). A file must be decrypted already" in said


def test_a_text_that_is_no_private_key_is_refused_and_not_shown() -> None:
    with pytest.raises(config.ConfigError, match=r"restore\.identity: given a text \(not shown\)") as caught:
        from_store(identity="geheim")
    assert "geheim" not in str(caught.value)


def test_a_restore_from_the_store_is_made_once_and_then_needs_neither_key_nor_store() -> None:
    done = left(from_store())
    for now in (from_store(), from_store(identity=None, settings={"backup": None})):
        assert judge(read_state(done["applied"]), guard.wanted(guard.compared(now, done))).steps == ()
    assert "The restore 1 is complete, from newest" in refusal(from_store(NAME), done)
    assert judge(read_state(done["applied"]), guard.wanted(guard.compared(from_store(number=2), done))).steps


def test_nothing_else_changes_together_with_a_restore(tmp_path: Path) -> None:
    path, before = snapshot(tmp_path / "a.db", CLUSTER), left(stack(None))
    said = refusal(stack(path, settings={"authorities": [{"name": "1"}, {"name": "2"}]}), before)
    assert "Together with a restore nothing else can change; here also: trusted" in said
    assert "2. restore.number: 1" in said
    guard.compared(stack(path, settings={"version": "3.7.3"}), before)


def test_what_others_have_changed_on_a_machine_keeps_no_restore_waiting() -> None:
    was = replace(state(THREE), drift_check="x", serial=1)
    wanted = replace(was, restored=1, restored_from="a", drift_check="y", put_right={THREE[0]: "x: /etc/etcd is gone"})
    verdict = judge(was, wanted)
    assert not verdict.problems
    assert verdict.steps[-1].text.startswith("look for what others have changed on ")


def test_the_steps_of_a_restore_say_what_is_lost(tmp_path: Path) -> None:
    path, before = snapshot(tmp_path / "a.db", CLUSTER), left(stack(None))
    for last in (before, {}):
        now = guard.compared(stack(path), last)
        steps = [str(step) for step in judge(read_state(last.get("applied")), guard.wanted(now)).steps]
        assert "revision 300" in steps[1]
        assert "no member stops" in steps[1]
        assert (
            steps[2]
            == "all members stop: EVERYTHING WRITTEN AFTER THE SNAPSHOT IS LOST [0 of 3 voters running, no quorum]"
        )
        assert "API servers: nothing to do" in steps[-1]


def test_what_other_clusters_leave_is_as_before() -> None:
    wanted = state(THREE)
    assert not {"restored", "restored_from", "restore_listed", "restores"} & {*wanted.data(), *wanted.content()}
    done = replace(wanted, restored=2, restored_from="a.db", restore_listed=True, restores="words")
    assert "restores" not in done.data()
    assert read_state(json.loads(json.dumps(done.data()))) == replace(done, restores="")


@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["a", "b"]), st.sampled_from(["a", "b"]))
def test_a_number_is_restored_at_most_once(before: int, after: int, old: str, new: str) -> None:
    was = replace(state(THREE), restored=before, restored_from=old if before else "", serial=1)
    wanted = replace(state(THREE), restored=after, restored_from=new if after else "")
    verdict = judge(was, wanted)
    if after > before:
        assert any("all members stop" in str(step) for step in verdict.steps)
        assert verdict.state.restored == after
        assert judge(verdict.state, wanted).steps == ()
    else:
        assert verdict.refused == (after > 0 and (after < before or old != new))
        assert verdict.steps == ()
    assert verdict.state.restored == max(after, before) or verdict.refused
