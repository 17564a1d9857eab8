"""Waiting for this machine's etcd."""

import json
from pathlib import Path

import pytest

from components.node.protocol import etcd
from components.node.service import certificates, member, release, systemd
from components.node.shared import paths
from components.node.shared.errors import NodeError

from .node_support import a_spec


def _service(active: str, *, has_job: bool) -> systemd.Service:
    return systemd.Service(active, "", 0, 0, "signal", True, False, has_job)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[etcd.Ready | etcd.SilentError]:
    """The member's answers, one after another; nothing is started or stopped."""
    queue: list[etcd.Ready | etcd.SilentError] = []

    def ready(*_: object, **__: object) -> etcd.Ready:
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, etcd.SilentError):
            raise answer
        return answer

    monkeypatch.setattr(etcd, "ready", ready)
    monkeypatch.setattr(systemd, "stop", lambda: None)
    monkeypatch.setattr(systemd, "journal", lambda: "")
    return queue


def test_a_restarting_unit_has_not_ended(
    monkeypatch: pytest.MonkeyPatch, answers: list[etcd.Ready | etcd.SilentError]
) -> None:
    monkeypatch.setattr(systemd, "show", lambda: _service("failed", has_job=True))
    answers += [etcd.SilentError("connection refused"), etcd.Ready(True, "", "")]
    member.wait_ready(a_spec(), 5)


@pytest.mark.parametrize("active", ["failed", "inactive"])
def test_a_unit_that_will_not_restart_has_ended(
    monkeypatch: pytest.MonkeyPatch, answers: list[etcd.Ready | etcd.SilentError], active: str
) -> None:
    monkeypatch.setattr(systemd, "show", lambda: _service(active, has_job=False))
    answers.append(etcd.SilentError("connection refused"))
    with pytest.raises(NodeError, match="etcd ended instead of starting"):
        member.wait_ready(a_spec(), 5)


OLD = "  | panic: tocommit(17) is out of range [lastIndex(9)]. Was the raft log corrupted, truncated, or lost?"


@pytest.mark.parametrize(
    ("said", "old"), [(f"  | fatal: x\n{OLD}\n{OLD}", True), (f"{OLD}\n{OLD}\n  | error: one\n  | fatal: two", False)]
)
def test_outdated_data_is_recognised_by_etcds_panic(
    monkeypatch: pytest.MonkeyPatch, answers: list[etcd.Ready | etcd.SilentError], said: str, old: bool
) -> None:
    monkeypatch.setattr(systemd, "show", lambda: _service("failed", has_job=False))
    monkeypatch.setattr(systemd, "journal", lambda: said)
    answers.append(etcd.SilentError("connection refused"))
    with pytest.raises(member.StartError) as ended:
        member.wait_ready(a_spec(), 5)
    assert isinstance(ended.value, member.OldDataError) is old
    assert ("log up to entry 17, and it ends at 9" in str(ended.value)) is old


def test_former_members_are_remembered_until_the_change_is_complete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paths, "INSTALLED", tmp_path / "installed.json")
    monkeypatch.setattr(systemd, "install", lambda *_: None)
    monkeypatch.setattr(release, "link", lambda _: None)
    monkeypatch.setattr(certificates, "trusted", lambda: "")
    monkeypatch.setattr("components.node.shared.files.os.fchown", lambda *_: None)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)

    def remembered() -> list[str]:
        return list(json.loads(paths.INSTALLED.read_text())["members"])

    member.install_unit(a_spec())
    alone = a_spec(members={"etcd-1": "10.99.0.11"})
    member.install_unit(alone)
    assert remembered() == ["etcd-1", "etcd-2", "etcd-3"]
    member.settle(alone)
    assert remembered() == ["etcd-1"]


def test_a_learners_readiness_ignores_its_role_and_the_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner is never ready for etcd, and a linearizable read may take minutes."""
    asked: list[str] = []

    def get(_: str, __: int, page: str, *___: object, **____: object) -> tuple[int, bytes, dict[str, str], str]:
        asked.append(page)
        return 200, b"[+]serializable_read ok\n", {}, ""

    monkeypatch.setattr(etcd, "_get", get)
    member.wait_ready(a_spec(), 5, learner=True)
    member.wait_ready(a_spec(), 5)
    assert asked == ["/readyz?verbose&exclude=non_learner&exclude=linearizable_read", "/readyz?verbose"]
