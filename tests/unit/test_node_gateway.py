"""What etcd's JSON gateway is asked in etcdctl's place, and when etcdctl is asked all the same."""

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from components.node.cluster import lease
from components.node.protocol import etcd, gateway
from components.node.shared.errors import OverdueError

from .node_support import a_spec

STATUS = {"header": {"cluster_id": "77", "member_id": "1", "revision": "5"}, "leader": "1", "raftIndex": "9"}


def _etcd(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any], printed: Any = None) -> list[str]:
    """Gateway pages and etcdctl commands that are asked; the gateway answers as told, etcdctl prints something."""
    asked: list[str] = []

    def get(address: str, _: int, page: str, *__: Any, **___: Any) -> tuple[int, bytes, dict[str, str], str]:
        asked.append(f"{address}{page}")
        said = answer(address)
        if isinstance(said, Exception):
            raise said
        status, value = said
        return status, json.dumps(value).encode(), {}, ""

    def run(argv: Sequence[str], *_: Any, **__: Any) -> SimpleNamespace:
        asked.append(" ".join(word for word in argv[1:] if not word.startswith("--")))
        return SimpleNamespace(returncode=0, stdout=json.dumps(printed or {}), stderr="")

    monkeypatch.setattr(etcd, "_get", get)
    monkeypatch.setattr(etcd, "run", run)
    return asked


def test_what_the_gateway_has_done_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _etcd(monkeypatch, lambda _: (200, {"kvs": []}))
    assert etcd.etcdctl(a_spec(), ["10.99.0.11", "10.99.0.12"], ["get", "key"]) == (0, {"kvs": []}, "")
    assert asked == ["10.99.0.11/v3/kv/range"]


@pytest.mark.parametrize(
    "said",
    [
        (404, "404 page not found"),  # switched off
        (400, {"code": 3, "message": "etcdserver: user name is empty"}),  # etcd's own authentication is on
        (503, {"code": 14, "message": "etcdserver: leader changed"}),
        etcd.SilentError("no answer in time"),
        etcd.RefusedError("it refuses this member's certificate"),
    ],
)
@pytest.mark.parametrize("words", [["get", "key"], ["member", "promote", "b"], ["lease", "keep-alive", "--once", "b"]])
def test_what_it_has_not_done_is_for_etcdctl_as_if_it_had_not_been_asked(
    monkeypatch: pytest.MonkeyPatch, said: Any, words: list[str]
) -> None:
    asked = _etcd(monkeypatch, lambda _: said, {"told": "etcdctl"})
    assert etcd.etcdctl(a_spec(), ["10.99.0.11", "10.99.0.12"], words)[:2] == (0, {"told": "etcdctl"})
    assert asked[1] == " ".join(word for word in words if not word.startswith("--"))


def test_the_end_of_a_verbs_time_is_no_silence_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes once, out of whatever is under way; taken for an error of the gateway it would never come again."""
    asked = _etcd(monkeypatch, lambda _: OverdueError("converge was not done within 600 s", "Run again."))
    with pytest.raises(OverdueError):
        etcd.etcdctl(a_spec(), ["10.99.0.12"], ["member", "list"])
    assert asked == ["10.99.0.12/v3/cluster/member/list"]


def test_a_lease_that_is_gone_is_no_lease_that_was_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    _etcd(monkeypatch, lambda _: (200, {"result": {"ID": "11"}}))
    gone = SimpleNamespace(returncode=1, stdout="", stderr="Error: etcdserver: requested lease not found")
    monkeypatch.setattr(etcd, "run", lambda *_, **__: gone)
    assert not lease.renew(a_spec(), ["10.99.0.11"], 11)


def test_who_gives_no_answer_has_no_status_and_costs_its_silence_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "10.99.0.11": (200, STATUS),
        "10.99.0.12": etcd.SilentError("no answer in time"),
        "10.99.0.13": (404, ""),
    }
    told = [{"Endpoint": "https://10.99.0.13:2379", "Status": {**STATUS, "raftIndex": 8}}]
    asked = _etcd(monkeypatch, answers.__getitem__, told)
    found = etcd.statuses(a_spec(), a_spec().members)
    assert {name: status.raft_index for name, status in found.items()} == {"etcd-1": 9, "etcd-3": 8}
    assert asked[3:] == ["endpoint status"]


def test_a_prefix_ends_before_the_next_one() -> None:
    page, content = gateway.request(["get", "--prefix", "a/"]) or ("", {})
    assert page == "/v3/kv/range"
    assert content == {"key": "YS8=", "range_end": "YTA="}
