"""`health` waits for members that come back by themselves, and names what is wrong otherwise."""

import itertools
import json
from collections.abc import Iterator
from unittest import mock

import pytest

from components.node.cluster import lease, marker, one_restart, roster, users
from components.node.cluster.claim import Claim
from components.node.protocol import etcd
from components.node.shared.errors import NodeError
from components.node.verbs import health as verb

from .node_support import a_spec

WRONG = "etcd-2 (10.99.0.12): no answer"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    """Ten seconds pass from look to look."""
    made = mock.Mock(monotonic=mock.Mock(side_effect=itertools.count(0, 5)))
    monkeypatch.setattr(verb, "time", made)
    monkeypatch.setattr(verb, "until", lambda *_, **__: range(1000))
    for module in (roster, marker, users):
        monkeypatch.setattr(module, "settle", lambda *_: None)
    monkeypatch.setattr(etcd, "with_quorum", lambda *_: ([("10.99.0.13", None)], WRONG))
    yield made


@pytest.mark.parametrize("comes_back", [True, False])
def test_it_waits_for_a_defragmentation(
    clock: mock.Mock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], comes_back: bool
) -> None:
    looks, more = itertools.count(), list[float]()
    held = lease.Held({"member": "etcd-2", "run": "1", "seconds": "355"}, 7)
    monkeypatch.setattr(verb, "examine", lambda _: ({}, [WRONG] * (next(looks) < 30 or not comes_back)))
    # It ends; the member is back, or has another trouble.
    monkeypatch.setattr(lease, "find", lambda *_: held if next(looks) < 30 else None)
    monkeypatch.setattr(verb, "more_time", more.append)
    claim = mock.Mock(spec=Claim)
    if comes_back:
        assert json.loads(verb.health(a_spec(), claim)) == {}
        claim.release.assert_called_once()
    else:
        with pytest.raises(NodeError, match="is not healthy"):
            verb.health(a_spec(), claim)
        assert next(looks) < 60, "it gives up soon after the defragmentation"
    assert more == [385.0]
    assert capsys.readouterr().err.count("waits up to 355 s until etcd-2 has been defragmented") == 1


@pytest.mark.parametrize("found", [None, lease.Held({"member": "etcd-2", "run": "1"}, 7), NodeError("silence", "")])
def test_it_waits_for_nothing_else(
    clock: mock.Mock, monkeypatch: pytest.MonkeyPatch, found: lease.Held | NodeError | None
) -> None:
    """Not for a restart: that is over in 30 s, or has failed."""
    looks = itertools.count()

    def find(*_: object) -> lease.Held | None:
        if isinstance(found, NodeError):
            raise found
        return found

    monkeypatch.setattr(verb, "examine", lambda _: ({}, [WRONG] * (next(looks) >= 0)))
    monkeypatch.setattr(lease, "find", find)
    assert one_restart.defragmentation(a_spec()) == ("", 0.0)
    with pytest.raises(NodeError, match="etcd-2"):
        verb.health(a_spec(), mock.Mock(spec=Claim))
    assert next(looks) < 10
