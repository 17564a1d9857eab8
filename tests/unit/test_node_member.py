"""Waiting for this machine's etcd."""

import pytest

from components.node import etcd, member, systemd
from components.node.errors import NodeError

from .node_support import a_spec


def _service(active: str, *, has_job: bool) -> systemd.Service:
    return systemd.Service(active, "", 0, 0, "signal", True, False, has_job)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[etcd.Ready | etcd.SilentError]:
    """What the member answers, one after another; nobody starts or stops anything."""
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


def test_a_unit_between_the_halves_of_a_restart_has_not_ended(
    monkeypatch: pytest.MonkeyPatch, answers: list[etcd.Ready | etcd.SilentError]
) -> None:
    monkeypatch.setattr(systemd, "show", lambda: _service("failed", has_job=True))
    answers += [etcd.SilentError("connection refused"), etcd.Ready(True, "", "")]
    member.wait_ready(a_spec(), 5)


@pytest.mark.parametrize("active", ["failed", "inactive"])
def test_a_unit_that_nobody_starts_any_more_has_ended(
    monkeypatch: pytest.MonkeyPatch, answers: list[etcd.Ready | etcd.SilentError], active: str
) -> None:
    monkeypatch.setattr(systemd, "show", lambda: _service(active, has_job=False))
    answers.append(etcd.SilentError("connection refused"))
    with pytest.raises(NodeError, match="etcd ended instead of starting"):
        member.wait_ready(a_spec(), 5)
