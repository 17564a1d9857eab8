"""Names and addresses of members."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import members, quorum, tolerated


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_an_odd_number_up_to_seven_is_accepted(count: int) -> None:
    assert members.check_count(count, "machines") == []


@pytest.mark.parametrize(
    ("count", "rule", "remedy"),
    [
        (0, "1, 3, 5 or 7", "three members"),
        (2, "odd", "1 or 3"),
        (4, "4 tolerate 1 failure, no more than 3", "3 or 5"),
        (6, "odd", "5 or 7"),
        (8, "at most 7", "7"),
        (9, "at most 7", "7"),
    ],
)
def test_another_number_of_members_is_refused(count: int, rule: str, remedy: str) -> None:
    [problem] = members.check_count(count, "machines")
    assert (problem.key, problem.value) == ("machines", f"{count} members")
    assert rule in problem.rule
    assert remedy in problem.remedy


@given(st.integers(1, 99))
def test_majorities_overlap_and_survive_tolerated_losses(members: int) -> None:
    assert 2 * quorum(members) > members
    assert members - tolerated(members) == quorum(members)
    assert tolerated(members) == tolerated(members - 1 if members % 2 == 0 else members)


@pytest.mark.parametrize("name", ["Etcd-1", "-a", "a-", "a.b", "a_b", "", "a" * 64, "a\n", "ä", None, 1])
def test_a_name_must_be_a_dns_label(name: object) -> None:
    [problem] = members.check_name(name, "machines[0].name")
    assert "DNS label" in problem.rule
    assert problem.key == "machines[0].name"


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_every_dns_label_is_accepted(name: str) -> None:
    assert members.check_name(name, "name") == []


@given(st.text(min_size=1, max_size=80))
def test_a_suggested_name_is_accepted(name: str) -> None:
    for problem in members.check_name(name, "name"):
        suggested = re.fullmatch(r"Write it as '(.*)'|.*", problem.remedy)
        assert suggested is not None
        assert suggested[1] is None or members.check_name(suggested[1], "name") == []


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("etcd-1", "IPv4 or IPv6 address"),
        ("10.0.0.1/24", "IPv4 or IPv6 address"),
        ("10.0.0.1:2379", "IPv4 or IPv6 address"),
        ("10.0.0.01", "IPv4 or IPv6 address"),
        ("", "IPv4 or IPv6 address"),
        (None, "IPv4 or IPv6 address"),
        ("0.0.0.0", "unspecified"),  # noqa: S104
        ("::", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("0.1.2.3", "reserved"),
        ("::ffff:10.0.0.1", "IPv6 notation"),
        ("fd00:0::1", "shortest form"),
        ("FD00::1", "shortest form"),
    ],
)
def test_an_unreachable_address_is_refused(address: object, rule: str) -> None:
    [problem] = members.check_address(address, "machines[2].address")
    assert rule in problem.rule
    assert problem.key == "machines[2].address"
    assert problem.remedy


@given(st.one_of(st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=6, network="fd00::/8")))
def test_every_private_address_is_accepted_and_makes_a_url(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert members.check_address(str(address), "address") == []
    host = f"[{address}]" if address.version == 6 else str(address)
    assert members.url(str(address), 2379) == f"https://{host}:2379"


def test_duplicate_names_and_addresses_are_refused() -> None:
    problems = members.check_members([("a", "10.0.0.1"), ("a", "10.0.0.1"), ("b", "10.0.0.1")], "machines")
    assert [problem.key for problem in problems] == ["machines[1].name", "machines[1].address", "machines[2].address"]
    assert "machines[0].name is 'a' too" in problems[0].rule


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["10.0.0.1", "10.0.0.2", "x"])), max_size=9))
def test_accepted_members_are_odd_in_number_and_distinct(listed: list[tuple[str, str]]) -> None:
    if not members.check_members(listed):
        assert len(listed) in (1, 3, 5, 7)
        assert len({name for name, _ in listed}) == len({address for _, address in listed}) == len(listed)
