"""The registrations of a restore: two barriers, nothing secret in the open, and no command that could run later."""

import base64
import bz2
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from components import EtcdCluster
from components.plan import PlanError
from components.restore import BegunError
from tests.support.recording import Recorder, is_secret, plain_text, record
from tests.support.snapshot_files import snapshot

from .test_cluster_registrations import MEMBERS, cluster, machines

ANSWERS = {f"dev-{member}-stage": json.dumps({"begun": False, "data": True, "quorum": True}) for member in MEMBERS}
STEPS = ("receive", "snapshot", "stage", "restore", "start")


def restore(path: Path, previous: dict[str, Any] | None, *, preview: bool = False, **more: object) -> Recorder:
    settings = {"from": str(path), "confirm": "dev", **more}
    args: Any = {"members": machines(), "previous": previous, "restore": settings}
    return record(lambda: EtcdCluster("dev", args), preview, said=ANSWERS)


@pytest.fixture
def applied() -> dict[str, Any]:
    """What an update before has left."""
    found: dict[str, Any] = cluster(preview=False, previous=None).outputs["dev"]["applied"]
    return found


def test_no_member_stops_before_all_are_ready_and_none_starts_before_all_have_stopped(
    tmp_path: Path, applied: dict[str, Any], preview: bool
) -> None:
    recorder = restore(snapshot(tmp_path / "a.db", "dev"), applied, preview=preview)
    everyone = {step: {f"dev-{member}-{step}" for member in MEMBERS} for step in (*STEPS, "prepare")}
    for member in MEMBERS:
        assert everyone["prepare"] <= recorder.named(f"dev-{member}-receive").depends_on | _above(recorder, member)
        assert f"dev-{member}-receive" in recorder.named(f"dev-{member}-snapshot").depends_on
        assert everyone["snapshot"] <= recorder.named(f"dev-{member}-stage").depends_on
        assert everyone["stage"] <= recorder.named(f"dev-{member}-restore").depends_on
        assert everyone["restore"] <= recorder.named(f"dev-{member}-start").depends_on
    assert everyone["start"] <= recorder.named("dev-a-converge").depends_on
    # Members that start together wait for each other's answers for 7 s each.
    for before, member in itertools.pairwise(MEMBERS):
        assert f"dev-{before}-start" in recorder.named(f"dev-{member}-start").depends_on


def _above(recorder: Recorder, member: str) -> set[str]:
    """What the bootstrap waits for, for which the restore waits."""
    return set(recorder.named(f"dev-{member}-bootstrap").depends_on)


def test_a_restore_passes_certificates_and_answers_as_secrets(tmp_path: Path, applied: dict[str, Any]) -> None:
    recorder = restore(snapshot(tmp_path / "a.db", "dev"), applied)
    for member in MEMBERS:
        given = recorder.named(f"dev-{member}-restore").inputs["stdin"]
        assert is_secret(given)
        told = json.loads(bz2.decompress(base64.b64decode(given["value"])))["restore"]
        assert told["run"] == "dev-restore-run-id"
        assert told["stages"] == {each: {"begun": False, "data": True, "quorum": True} for each in MEMBERS}
        for step in STEPS:
            assert "PRIVATE KEY" not in plain_text(recorder.named(f"dev-{member}-{step}").inputs).replace(
                "PRIVATE KEY of ssh", ""
            )
        for step in ("stage", "restore"):
            create = recorder.named(f"dev-{member}-{step}").inputs["create"]
            spec = json.loads(create[create.index("{") : create.rindex("}") + 1])
            assert spec["restore"]["number"] == 1
            assert len(spec["restore"]["sha256"]) == 64
        assert " start '{" in recorder.named(f"dev-{member}-start").inputs["create"]


def test_the_first_update_can_be_a_restore_and_then_bootstraps_nothing(tmp_path: Path) -> None:
    recorder = restore(snapshot(tmp_path / "a.db", "dev"), None)
    for member in MEMBERS:
        assert recorder.named(f"dev-{member}-bootstrap").inputs["create"] == "true"


def test_a_restore_that_was_made_is_frozen_and_one_that_was_removed_is_not_declared(
    tmp_path: Path, applied: dict[str, Any]
) -> None:
    path = snapshot(tmp_path / "a.db", "dev")
    before = restore(path, applied)
    done = before.outputs["dev"]["applied"]
    path.unlink()
    after = restore(path, done)
    for member in MEMBERS:
        for step in STEPS:
            frozen = after.named(f"dev-{member}-{step}")
            assert {"connection", "source" if step == "snapshot" else "create"} <= set(frozen.request.ignoreChanges)
            assert not before.named(f"dev-{member}-{step}").request.ignoreChanges
            if step != "snapshot":
                assert frozen.inputs["create"] == "true", "created again, it would do nothing"
    assert after.named("dev-restore-run").request.ignoreChanges == ["input"]
    assert after.named("dev-change").inputs == before.named("dev-change").inputs
    assert after.named("dev-change").inputs != cluster(preview=False).named("dev-change").inputs

    without: Any = {"members": machines(), "previous": done}
    removed = record(lambda: EtcdCluster("dev", without), preview=False)
    assert removed.named("dev-change").inputs == before.named("dev-change").inputs
    again = restore(path, removed.outputs["dev"]["applied"])
    for recorder in (removed, again):
        assert not [each.name for each in recorder.registrations if "restore" in each.name or "stage" in each.name]


NAME = "dev-20261129T160000Z-r48.db.gz.age"
BACKUP = {
    "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
    "s3": {"bucket": "etcd", "region": "eu", "access_key_id": "AKIA", "secret_access_key": "of-nobody"},
}
KEY = "AGE-SECRET-KEY-1" + "Q" * 58
FOUND = {"dev-a-find": NAME, **ANSWERS}


def from_store(previous: dict[str, Any] | None, said: dict[str, Any] | None = None, **more: object) -> Recorder:
    settings = {"from": "newest", "confirm": "dev", "identity": KEY, **more}
    args: Any = {"members": machines(), "previous": previous, "backup": BACKUP, "restore": settings}
    for machine in args["members"]:
        # No file is copied.
        machine["ssh"] = {**machine["ssh"], "sftp": False}
    return record(lambda: EtcdCluster("dev", args), preview=False, said={**FOUND, **(said or {})})


def _told(recorder: Recorder, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Specification and standard input of a command."""
    inputs = recorder.named(name).inputs
    assert is_secret(inputs["stdin"])
    create = inputs["create"]
    spec = json.loads(create[create.index("{") : create.rindex("}") + 1])
    return spec, json.loads(bz2.decompress(base64.b64decode(inputs["stdin"]["value"])))


def test_the_first_member_finds_the_snapshot_and_all_fetch_it(applied: dict[str, Any]) -> None:
    recorder = from_store(applied)
    names = {each.name for each in recorder.registrations}
    assert not {f"dev-{member}-{step}" for member in MEMBERS for step in ("receive", "snapshot")} & names
    assert not {"dev-b-find", "dev-c-find"} & names
    spec, given = _told(recorder, "dev-a-find")
    assert (spec["restore"]["from"], spec["backup"]["s3"]["bucket"]) == ("newest", "etcd")
    assert given["store"] == {"access_key_id": "AKIA", "secret_access_key": "of-nobody"}
    assert "restore" not in given
    assert recorder.named("dev-restore-1-snapshot").inputs == {"input": NAME}
    for member in MEMBERS:
        assert "dev-a-find" in recorder.named(f"dev-{member}-stage").depends_on
        spec, given = _told(recorder, f"dev-{member}-stage")
        assert (spec["restore"]["from"], spec["restore"]["sha256"]) == (NAME, "")
        assert given["restore"]["identity"] == KEY
        assert "identity" not in _told(recorder, f"dev-{member}-restore")[1]["restore"]
    for registration in recorder.registrations:
        assert KEY not in plain_text(registration.inputs), registration.name


def test_an_interrupted_restore_goes_on_with_the_snapshot_that_it_found_first(applied: dict[str, Any]) -> None:
    kept = {"dev-restore-1-snapshot": NAME.replace("16", "15")}
    spec, _ = _told(from_store(applied, kept), "dev-b-stage")
    assert spec["restore"]["from"] == NAME.replace("16", "15")
    with pytest.raises(BegunError, match="The restore 1 began with dev-20261129T15"):
        from_store(applied, kept, **{"from": NAME})
    begun = {"dev-restore-1": {"token": "dev-1", "sha256": "ab" * 32}}
    with pytest.raises(BegunError, match="began with a file"):
        from_store(applied, begun)


def test_a_complete_restore_leaves_no_private_key_in_the_state(applied: dict[str, Any]) -> None:
    done = from_store(applied).outputs["dev"]["applied"]
    after = from_store(done)
    names = {each.name for each in after.registrations}
    assert not {f"dev-{member}-{step}" for member in MEMBERS for step in ("find", "stage")} & names
    assert after.named("dev-restore-1-snapshot").request.ignoreChanges == ["input"]
    for registration in after.registrations:
        text = json.dumps(registration.inputs)
        assert KEY not in text
        if registration.name.endswith(("-restore", "-start")):
            assert registration.inputs["create"] == "true"
            assert not registration.inputs.get("stdin")


def test_a_restore_needs_the_last_update_and_sftp(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "a.db", "dev")
    args: Any = {"members": machines(), "restore": {"from": str(path), "confirm": "dev"}}
    with pytest.raises(PlanError, match="previous: given nothing"):
        _declared(args)
    for machine in args["members"]:
        machine["ssh"] = {**machine["ssh"], "sftp": False}
    with pytest.raises(PlanError, match=r"members\[0\]\.ssh\.sftp: given false"):
        _declared({**args, "previous": None})


def _declared(args: Any) -> None:
    record(lambda: EtcdCluster("dev", args), preview=False)
