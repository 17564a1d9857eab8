"""Shared by the tests of etcd-node: a specification, members, and the text of an error."""

import copy
import json
from typing import Any

from components.node.protocol import etcd
from components.node.shared import spec

SPEC: dict[str, Any] = {
    "format": 1,
    "cluster": "dev",
    "member": "etcd-1",
    "members": {"etcd-1": "10.99.0.11", "etcd-2": "10.99.0.12", "etcd-3": "10.99.0.13"},
    "release": {"version": "3.6.16", "mirror": "https://releases.example/etcd/", "sha256": {}},
    "data_directory": "/var/lib/etcd",
    "client_port": 2379,
    "peer_port": 2380,
    "metrics_url": "http://127.0.0.1:2381",
    "quota_bytes": 2147483648,
    "flags": {"--name": "etcd-1", "--data-dir": "/var/lib/etcd"},
    "program": "0123456789ab",
}


def raw_spec(**changes: Any) -> dict[str, Any]:
    """The specification as JSON data, with other values for some keys."""
    return {**copy.deepcopy(SPEC), **changes}


def a_spec(**changes: Any) -> spec.Spec:
    """The specification, parsed."""
    return spec.parse(json.dumps(raw_spec(**changes)))


def a_member(number: int, *, learner: bool = False, started: bool = True) -> etcd.Member:
    """The member etcd-<number>, whose ID is its number."""
    return etcd.Member(
        id=number,
        name=f"etcd-{number}" if started else "",
        peer_urls=(f"https://10.99.0.1{number}:2380",),
        client_urls=(f"https://10.99.0.1{number}:2379",) if started else (),
        learner=learner,
    )


def a_status(number: int, *, leader: int = 1, index: int = 1000, version: str = "3.6.16") -> etcd.Status:
    """The status of the member etcd-<number>."""
    return etcd.Status(
        member_id=number,
        cluster_id=77,
        version=version,
        leader=leader,
        raft_index=index,
        applied_index=index,
        db_size=4096,
        learner=False,
        errors=(),
    )
