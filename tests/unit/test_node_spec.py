"""Which specifications and standard inputs etcd-node accepts."""

import json
from typing import Any

import pytest

from components.bundle import packed
from components.node.shared import spec
from components.node.shared.errors import NodeError

from .node_support import SPEC, a_spec, raw_spec

FILES = {
    **{name: f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in spec.CERTIFICATES},
    **{name: f"-----BEGIN EC PRIVATE KEY-----\n{name}\n-----END EC PRIVATE KEY-----\n" for name in spec.KEYS},
}


def test_a_specification_is_read_with_its_members_in_order() -> None:
    found = a_spec(initial_members=["etcd-1"], token="dev-1")
    assert list(found.members) == ["etcd-1", "etcd-2", "etcd-3"]
    assert list(found.others) == ["etcd-2", "etcd-3"]
    assert found.address == "10.99.0.11"
    assert found.initial_members == ("etcd-1",)
    assert found.release.mirror == "https://releases.example/etcd"


def test_an_ipv6_member_has_its_address_in_brackets() -> None:
    found = a_spec(members={"etcd-1": "fd00::11"})
    assert found.peer_url(found.address) == "https://[fd00::11]:2380"


def test_the_short_specification_of_prepare_is_read() -> None:
    found = a_spec(members={"etcd-1": "10.99.0.11"}, flags={})
    assert found.others == {}


@pytest.mark.parametrize("key", [key for key in SPEC if key != "format"])
def test_a_specification_that_lacks_a_key_is_refused_with_the_key(key: str) -> None:
    raw = raw_spec()
    del raw[key]
    with pytest.raises(NodeError, match=f"lacks {key}"):
        spec.parse(json.dumps(raw))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "reads format 1"),
        ({"surprise": 1}, "unknown surprise"),
        ({"cluster": "Dev"}, "DNS label"),
        ({"member": "etcd-9"}, "one of `members`"),
        ({"members": {"etcd-1": "not-an-ip"}}, "IP address"),
        ({"members": {"etcd-1": "10.0.0.1", "etcd-2": "10.0.0.1"}}, "same address"),
        ({"data_directory": "/var"}, "absolute path"),
        ({"data_directory": "/var/lib/../etc"}, "absolute path"),
        ({"data_directory": "/var/lib/a b"}, "absolute path"),
        ({"quota_bytes": True}, "whole number"),
        ({"client_port": 0}, "whole number"),
        ({"flags": {"--initial-cluster-state": "new"}}, "flags that bootstrap or join"),
        ({"flags": {"name": "x"}}, "written --like-this"),
        ({"flags": {"--name": "a\nExecStart=/bin/sh"}}, "control characters"),
        ({"release": {"version": "3.6", "mirror": "https://x", "sha256": {}}}, "like 3.6.16"),
        ({"release": {"version": "3.6.16", "mirror": "file:///etc", "sha256": {}}}, "http"),
        ({"release": {"version": "3.6.16", "mirror": "https://x", "sha256": {"amd64": "12"}}}, "64 hex digits"),
    ],
)
def test_an_invalid_value_is_refused_with_its_rule(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NodeError, match=said):
        spec.parse(json.dumps(raw_spec(**changes)))


def test_invalid_json_is_refused() -> None:
    with pytest.raises(NodeError, match="not JSON"):
        spec.parse("{")


def test_certificates_and_keys_are_read_from_standard_input() -> None:
    text = json.dumps({"identity": "m-1", "files": FILES})
    for given in (text, packed(text.encode())):
        bundle = spec.parse_bundle(given)
        assert bundle.files == FILES
        assert bundle.clients == {}
    for damaged in ("", "QUJD", "no base64", packed(text.encode())[:200], packed(b"[]")):
        with pytest.raises(NodeError, match="standard input does not hold"):
            spec.parse_bundle(damaged)


def test_an_error_about_standard_input_never_shows_a_key() -> None:
    broken = {**FILES, "server.crt": "SECRET"}
    with pytest.raises(NodeError, match=r"server\.crt") as caught:
        spec.parse_bundle(json.dumps({"identity": "", "files": broken}))
    assert "SECRET" not in str(caught.value)
    with pytest.raises(NodeError) as caught:
        spec.parse_bundle(json.dumps({"identity": "", "files": {**FILES, "more.key": "SECRET"}}))
    assert "SECRET" not in str(caught.value)


def test_a_printed_bundle_shows_no_secrets() -> None:
    assert "PRIVATE" not in repr(spec.parse_bundle(json.dumps({"identity": "", "files": FILES})))
