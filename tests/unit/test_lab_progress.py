"""`make up` prints the plan, one line per step and real warnings."""

import json
from collections.abc import Iterator
from typing import Any

from lab.progress import lines

_PARENT = "urn:pulumi:dev::external-etcd::external-etcd:index:EtcdCluster"
_CLUSTER = f"{_PARENT}::dev"


def _diagnostic(severity: str, message: str, urn: str = "") -> dict[str, Any]:
    prefix = "" if severity in ("info", "debug") else f"{severity}: "
    said = {"prefix": prefix, "message": f"{message}\n", "severity": severity}
    return {"diagnosticEvent": {**said, "urn": urn} if urn else said}


def _step(kind: str, name: str, op: str = "create", type_: str = "command:remote:Command") -> dict[str, Any]:
    return {kind: {"metadata": {"op": op, "type": type_, "urn": f"{_PARENT}${type_}::{name}"}}}


def _printed(*events: dict[str, Any] | str) -> list[str]:
    clock: Iterator[float] = iter(range(100))
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return list(lines([f"{text}\n" for text in texts], "dev", lambda: next(clock)))


def test_the_plan_comes_first_and_every_step_has_one_line() -> None:
    assert _printed(
        _diagnostic("info", " 1. prepare etcd-1", _CLUSTER),
        _diagnostic("info", " 2. check the health", _CLUSTER),
        _step("resOutputsEvent", "dev-pki-1-ca", type_="tls:index/privateKey:PrivateKey"),
        _step("resourcePreEvent", "dev-etcd-1-prepare"),
        _diagnostic("info", "etcd-1: ready", f"{_PARENT}$command:remote:Command::dev-etcd-1-prepare"),
        _step("resOutputsEvent", "dev-etcd-1-prepare"),
        _step("resOutputsEvent", "dev-whole"),
        _step("resourcePreEvent", "dev-health", "update"),
        _step("resOutputsEvent", "dev-health", "update"),
        {"summaryEvent": {"resourceChanges": {"create": 3}}},
    ) == [
        "The plan:",
        "   1. prepare etcd-1",
        "   2. check the health",
        "Steps:",
        "  etcd-1: prepare                1.0 s",
        "  all members: health            1.0 s",
    ]


def test_an_update_without_steps_says_that_there_is_nothing_to_change() -> None:
    unchanged = _step("resOutputsEvent", "dev-etcd-1-prepare", "same")
    assert _printed(unchanged, {"summaryEvent": {"resourceChanges": {"same": 54}}}) == ["Nothing to change."]


def test_only_the_labs_own_warnings_are_omitted() -> None:
    assert _printed(
        _diagnostic("warning", "using pulumi-resource-tls from $PATH at /somewhere"),
        _diagnostic("warning", "http://releases.lab: archives and their checksums come over plain http", _CLUSTER),
        _diagnostic("debug", "registering resource"),
        _diagnostic("warning", "http://mirror.example: archives and their checksums come over plain http", _CLUSTER),
        _diagnostic("error", "etcd-1: its disk is full", _CLUSTER),
        "what is no event",
        {"summaryEvent": {"resourceChanges": {}}},
    ) == [
        "warning: http://mirror.example: archives and their checksums come over plain http",
        "error: etcd-1: its disk is full",
        "what is no event",
    ]
