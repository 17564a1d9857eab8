"""A member's old release and settings return if the new ones do not start, provided the old can read the data."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.node.protocol import etcd, versions
from components.node.service import member, release, systemd, unit
from components.node.shared import paths, spec
from components.node.shared.errors import NodeError
from components.node.upgrade import rollback

from .node_support import a_spec


def _release(version: str) -> dict[str, object]:
    return {"version": version, "mirror": "https://releases.example/etcd", "sha256": {"amd64": "0" * 64}}


OLD = a_spec(release=_release("3.5.35"), flags={"--name": "etcd-1", "--a": "x=y"})
NEW = a_spec(release=_release("3.6.16"), flags={"--name": "etcd-1", "--b": "2"})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine that runs OLD; yields the actions on it, in order."""
    done: list[str] = []
    monkeypatch.setattr(paths, "BEFORE", tmp_path / "before.json")
    monkeypatch.setattr(paths, "RELEASES", tmp_path / "releases")
    for version in ("3.5.35", "3.6.16"):
        release.directory(version).mkdir(parents=True)
        (release.directory(version) / "etcd").touch()
    monkeypatch.setattr(systemd, "command_of", lambda _: [*unit.command(OLD), "--initial-cluster-state=existing"])
    monkeypatch.setattr(systemd, "stop", lambda: done.append("stop"))
    monkeypatch.setattr(systemd, "start", lambda: done.append("start"))
    monkeypatch.setattr(member, "install_unit", lambda wanted: done.append(f"install {wanted.release.version}"))
    monkeypatch.setattr(member, "wait_ready", lambda *_: done.append("ready"))
    monkeypatch.setattr(release, "distrust", lambda version: done.append(f"distrust {version}"))
    monkeypatch.setattr(etcd, "seen", lambda *_: versions.Seen("3.5.35", "3.5.0"))
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    monkeypatch.setattr("components.node.shared.files.os.fchown", lambda *_: None)
    return done


def _fails() -> None:
    raise member.StartError("etcd ended instead of starting", "See the journal.")


def _restart(wanted: spec.Spec, start: Callable[[], None]) -> None:
    rollback.remember(wanted, 1)
    with rollback.undone(wanted):
        start()


def test_a_member_returns_to_its_old_etcd_if_the_new_one_ends(machine: list[str]) -> None:
    with pytest.raises(NodeError, match=r"3\.6\.16 did not start, and this member runs with etcd 3\.5\.35") as caught:
        _restart(NEW, _fails)
    assert "etcd ended instead of starting" in caught.value.cause
    assert machine == ["distrust 3.6.16", "stop", "install 3.5.35", "start", "ready"]


def test_failed_settings_are_rolled_back_like_versions(machine: list[str]) -> None:
    with pytest.raises(NodeError, match="new settings did not start, and this member runs with its previous settings"):
        _restart(a_spec(release=_release("3.5.35"), flags={"--name": "etcd-1", "--a": "new"}), _fails)
    assert machine == ["stop", "install 3.5.35", "start", "ready"]


def test_the_next_run_rolls_back_an_interrupted_one(machine: list[str]) -> None:
    rollback.remember(NEW, 1)
    with pytest.raises(NodeError, match=r"3\.5\.35 again"), rollback.undone(NEW):
        _fails()
    assert "install 3.5.35" in machine


def test_a_change_that_became_ready_is_never_rolled_back(machine: list[str]) -> None:
    _restart(NEW, lambda: None)
    rollback.forget()
    with pytest.raises(member.StartError), rollback.undone(NEW):
        _fails()
    assert machine == []


def test_a_running_unready_member_is_not_rolled_back(machine: list[str]) -> None:
    def slow() -> None:
        raise NodeError("not ready after 60 s", "Wait.")

    with pytest.raises(NodeError, match="not ready after 60 s"):
        _restart(NEW, slow)
    assert machine == []


def test_no_rollback_to_an_etcd_below_the_cluster_version(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "seen", lambda *_: versions.Seen("3.6.16", "3.6.0"))
    with pytest.raises(NodeError, match=r"works as a later version than etcd 3\.5\.35 already"):
        _restart(NEW, _fails)
    assert machine == []


def test_a_failed_rollback_reports_both_causes(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "wait_ready", lambda *_: _fails())
    with pytest.raises(NodeError, match=r"did not start \(etcd ended.*neither does etcd 3.5.35 again \(etcd ended"):
        _restart(NEW, _fails)
    assert machine[-1] == "start"


def test_a_command_line_restores_its_specification() -> None:
    found = spec.of_command(NEW, unit.command(OLD))
    assert found is not None
    assert unit.command(found) == unit.command(OLD)
    assert found.members == NEW.members
    assert found.release.sha256 == {}
    for words in ([], ["/usr/bin/etcd", "--name=x"], [*unit.command(OLD), "stray"]):
        assert spec.of_command(NEW, words) is None
