"""AWS zones: slots are spread evenly, subnets never overlap, and adding or removing a slot moves no other one."""

import ipaddress
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import aws_zones

LETTERS = st.lists(st.sampled_from("abcdef"), min_size=1, unique=True)
ZONES = LETTERS.map(lambda letters: [f"eu-central-1{letter}" for letter in letters])
NUMBERS = st.lists(st.integers(1, 60), min_size=1, max_size=9, unique=True)
VPCS = st.builds(
    lambda address, length: ipaddress.IPv4Network((address & ~((1 << (32 - length)) - 1), length)),
    st.integers(10 << 24, (11 << 24) - 1),
    st.integers(16, 24),
)


def slots(numbers: list[int]) -> list[tuple[str, str | None]]:
    return [(f"etcd-{number}", None) for number in numbers]


@given(ZONES, st.integers(1, 9))
def test_consecutive_slots_are_spread_evenly(zones: list[str], count: int) -> None:
    wanted = slots(list(range(1, count + 1)))
    counts = Counter(dict.fromkeys(zones, 0))
    counts.update(aws_zones.plan_zones(zones, wanted).values())
    assert sum(counts.values()) == count
    assert max(counts.values()) - min(counts.values()) <= 1
    assert aws_zones.check_spread(zones, wanted, "slots", "zones") == []


@given(ZONES, NUMBERS, NUMBERS)
def test_adding_or_removing_slots_keeps_the_other_zones(zones: list[str], before: list[int], after: list[int]) -> None:
    first = aws_zones.plan_zones(zones, slots(before))
    second = aws_zones.plan_zones(zones, slots(after))
    assert all(second[name] == zone for name, zone in first.items() if name in second)


@given(ZONES, NUMBERS)
def test_accepted_slots_are_spread_evenly(zones: list[str], numbers: list[int]) -> None:
    wanted = slots(numbers)
    counts = Counter(dict.fromkeys(zones, 0))
    counts.update(aws_zones.plan_zones(zones, wanted).values())
    even = max(counts.values()) - min(counts.values()) <= 1
    assert even == (not aws_zones.check_spread(zones, wanted, "slots", "zones"))


@given(ZONES, NUMBERS)
def test_explicit_zones_may_be_uneven(zones: list[str], numbers: list[int]) -> None:
    planned = aws_zones.plan_zones(zones, slots(numbers))
    assert aws_zones.check_spread(zones, list(planned.items()), "slots", "zones") == []


@given(VPCS, LETTERS)
def test_planned_subnets_are_in_the_vpc_and_never_overlap(vpc: ipaddress.IPv4Network, letters: list[str]) -> None:
    planned = [aws_zones.subnet_of(vpc, 0), *(aws_zones.planned_subnet(vpc, f"eu-west-1{each}") for each in letters)]
    found = [each for each in planned if each is not None]
    assert len(found) == len(planned)
    assert all(each.subnet_of(vpc) and each.prefixlen <= 28 for each in found)
    assert not any(first.overlaps(second) for first, second in combinations(found, 2))


@given(VPCS, LETTERS)
def test_a_subnet_depends_only_on_its_zone(vpc: ipaddress.IPv4Network, letters: list[str]) -> None:
    alone = {each: aws_zones.planned_subnet(vpc, f"eu-west-1{each}") for each in "abcdef"}
    assert {each: aws_zones.planned_subnet(vpc, f"eu-west-1{each}") for each in letters}.items() <= alone.items()


def test_the_letter_of_the_zone_is_the_number_of_the_subnet() -> None:
    vpc = ipaddress.IPv4Network("10.2.0.0/16")
    assert [str(aws_zones.planned_subnet(vpc, f"eu-central-1{each}")) for each in "abc"] == [
        "10.2.1.0/24",
        "10.2.2.0/24",
        "10.2.3.0/24",
    ]
    assert str(aws_zones.planned_subnet(ipaddress.IPv4Network("10.2.3.0/24"), "us-gov-west-1b")) == "10.2.3.32/28"


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("eu-central-1a", "eu-central-1"),
        ("us-gov-west-1b", "us-gov-west-1"),
        ("ap-southeast-4c", "ap-southeast-4"),
        ("eu-central-1", None),
        ("us-east-1-bos-1a", None),
        ("EU-central-1a", None),
        ("", None),
    ],
)
def test_a_zone_is_a_region_and_a_letter(zone: str, region: str | None) -> None:
    assert aws_zones.region_of(zone) == region


def test_zones_must_be_in_the_same_region() -> None:
    assert aws_zones.check_zones(["eu-west-1a", "eu-west-1b"], "zones", "eu-west-1") == []
    first, second = aws_zones.check_zones(["eu-west-1a", "eu-west-1b"], "zones", "eu-central-1")
    assert (first.key, second.key) == ("zones[0]", "zones[1]")
    assert "aws:region" in first.rule
    (found,) = aws_zones.check_zones(["eu-west-1a", "us-east-1b"], "zones", None)
    assert "eu-west-1a" in found.rule
