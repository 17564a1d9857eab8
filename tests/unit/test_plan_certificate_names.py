"""Additional names in certificates: which are accepted, and for which member."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import certificate_names

MEMBERS = [("etcd-1", "10.0.0.11"), ("etcd-2", "10.0.0.12"), ("etcd-3", "fd00::13")]


def problems(*shared: object, **own: list[object]) -> str:
    """`etcd_2=[...]` gives a name of that member."""
    listed = [(name, address, own.get(name.replace("-", "_"), [])) for name, address in MEMBERS]
    return "\n".join(map(str, certificate_names.check_extra_names(listed, shared)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["etcd.example.com", "etcd", "*.etcd.example.com", "10.0.0.5", "fd00::5", "xn--bcher-kva.example", "a.b1"]
)
def test_names_and_addresses_are_accepted_for_all_or_one(name: str) -> None:
    assert problems(name) == ""
    assert problems(etcd_2=[name]) == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ETCD.example.com", "in lower case"),
        ("https://etcd.example.com", "without scheme, port or final dot"),
        ("etcd.example.com.", "without scheme, port or final dot"),
        ("etcd.example.com:2379", "without scheme, port or final dot"),
        ("a.*.example.com", "a DNS name"),
        ("*", "a DNS name"),
        ("*.com", "a DNS name"),
        ("etcd_1.example.com", "a DNS name"),
        ("10.0.0.256", "a DNS name"),
        ("10.0.0.0/24", "a DNS name"),
        ("a" * 64, "a DNS name"),
        (".".join(["abcd"] * 51), "a DNS name"),
        ("", "a DNS name"),
        (7, "a DNS name"),
        ("fd00:0::5", "Write fd00::5"),
        ("0.0.0.0", "belong to one machine"),  # noqa: S104
        ("localhost", "Every server certificate has localhost"),
    ],
)
def test_an_invalid_certificate_name_is_refused(name: object, expected: str) -> None:
    assert expected in problems(name)
    assert "extra_names[0]: given" in problems(name)
    assert "members[1].extra_names[0]: given" in problems(etcd_2=[name])


@pytest.mark.parametrize("name", ["etcd-1", "10.0.0.11"])
def test_a_members_name_is_never_in_anothers_certificate(name: str) -> None:
    assert "would be valid for that member" in problems(name)
    assert "would be valid for that member" in problems(etcd_2=[name])
    assert "have its own name and address" in problems(etcd_1=[name])
    assert "would be valid for that member" in problems(etcd_1=["front.example.com"], etcd_2=["front.example.com"])


def test_a_duplicate_name_is_refused() -> None:
    assert "must not be in a list twice" in problems("etcd.example.com", "etcd.example.com")


@given(st.lists(st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z*.0-9-]{1,12}", fullmatch=True))))
def test_an_accepted_name_is_an_address_or_a_dns_name(given_names: list[str]) -> None:
    if problems(*given_names):
        return
    dns, addresses = certificate_names.split(given_names)
    assert sorted([*dns, *addresses]) == sorted(given_names)
    assert [str(ipaddress.ip_address(each)) for each in addresses] == addresses
