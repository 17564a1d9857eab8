"""Which requests go to etcd's JSON gateway, and when etcdctl is the fallback."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.node.cluster import lease, membership
from components.node.protocol import etcd, gateway
from components.node.shared.errors import NodeError, OverdueError

from .node_support import a_member, a_spec

STATUS = {"header": {"cluster_id": "77", "member_id": "1", "revision": "5"}, "leader": "1", "raftIndex": "9"}


def _etcd(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any], printed: Any = None) -> list[str]:
    """Records gateway pages and etcdctl commands; the gateway gives these answers, and etcdctl prints `printed`."""
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


def test_a_control_plane_reports_what_the_gateway_said_because_it_has_no_etcdctl(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = replace(a_spec(), pki=tmp_path)
    said: list[Any] = [(503, {"error": "etcdserver: unhealthy cluster"}), (200, {"header": {}})]
    asked = _etcd(monkeypatch, lambda _: said.pop(0))
    # Etcd says that it is too early, so the change is repeated.
    membership.remove(here, ["10.99.0.11"], a_member(2), "remove etcd-2")
    assert asked == ["10.99.0.11/v3/cluster/member/remove"] * 2
    said.append(etcd.SilentError("no answer in time"))
    with pytest.raises(NodeError, match="member list: no answer in time"):
        etcd.etcdctl(here, ["10.99.0.11"], ["member", "list"])


def test_a_gateway_answer_needs_no_etcdctl(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_etcdctl_repeats_a_request_that_the_gateway_refused(
    monkeypatch: pytest.MonkeyPatch, said: Any, words: list[str]
) -> None:
    asked = _etcd(monkeypatch, lambda _: said, {"told": "etcdctl"})
    assert etcd.etcdctl(a_spec(), ["10.99.0.11", "10.99.0.12"], words)[:2] == (0, {"told": "etcdctl"})
    assert asked[1] == " ".join(word for word in words if not word.startswith("--"))


def test_a_verbs_deadline_is_not_a_gateway_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is raised only once; treated as an error of the gateway it would be lost."""
    asked = _etcd(monkeypatch, lambda _: OverdueError("converge did not end within 600 s", "Run again."))
    with pytest.raises(OverdueError):
        etcd.etcdctl(a_spec(), ["10.99.0.12"], ["member", "list"])
    assert asked == ["10.99.0.12/v3/cluster/member/list"]


def test_an_expired_lease_is_not_reported_as_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    _etcd(monkeypatch, lambda _: (200, {"result": {"ID": "11"}}))
    gone = SimpleNamespace(returncode=1, stdout="", stderr="Error: etcdserver: requested lease not found")
    monkeypatch.setattr(etcd, "run", lambda *_, **__: gone)
    assert not lease.renew(a_spec(), ["10.99.0.11"], 11)


def test_a_silent_member_has_no_status_and_costs_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
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


def _decoded(value: Any) -> Any:
    """A request's content with its keys and values as text."""
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(each).decode() if name in ("key", "value") else _decoded(each)
        for name, each in value.items()
    }


def test_a_key_is_taken_without_etcdctl_and_only_if_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _etcd(monkeypatch, lambda _: (200, {"ID": "26", "succeeded": True}))
    sent: list[Any] = []
    get = etcd._get
    monkeypatch.setattr(etcd, "_get", lambda *a, **k: sent.append(_decoded(k["content"])) or get(*a, **k))  # type: ignore[func-returns-value]
    value = {"member": "etcd-1", "by": "it's me --lease=7"}
    assert lease.take(a_spec(), ["10.99.0.11"], "external-etcd/restart", value, 6) == lease.Held(value, 26)
    assert asked == ["10.99.0.11/v3/lease/grant", "10.99.0.11/v3/kv/txn"]
    put = {"key": "external-etcd/restart", "value": json.dumps(value), "lease": "26"}
    free = {"target": "CREATE", "result": "EQUAL", "key": "external-etcd/restart", "createRevision": "0"}
    assert sent[1] == {"compare": [free], "success": [{"requestPut": put}]}


def test_a_transaction_without_condition_needs_no_etcdctl() -> None:
    page, content = gateway.request(["txn"], "\nput a/b 10.99.0.12\ndel a/c\n\n\n") or ("", {})
    assert page == "/v3/kv/txn"
    done = [{"requestPut": {"key": "a/b", "value": "10.99.0.12"}}, {"requestDeleteRange": {"key": "a/c"}}]
    assert _decoded(content) == {"compare": [], "success": done}


@pytest.mark.parametrize(
    "text",
    ['mod("a") = "0"\n\nput a b\n\n\n', "\nget a\n\n\n", "\nput a b --prev-kv\n\n\n", "\nput a b\n\nput a c\n\n"],
)
def test_any_other_transaction_is_left_to_etcdctl(text: str) -> None:
    assert gateway.request(["txn"], text) is None


def test_a_prefix_ends_before_the_next_one() -> None:
    page, content = gateway.request(["get", "--prefix", "a/"]) or ("", {})
    assert page == "/v3/kv/range"
    assert content == {"key": "YS8=", "range_end": "YTA="}
