"""Addresses of slots: unique, and independent of the other slots."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import slots
from components.plan.cloud import CloudSlot

SUBNET = ipaddress.IPv4Network("10.1.1.0/24")
NUMBERS = st.lists(st.integers(1, 200), min_size=1, max_size=9, unique=True)


def slot(name: str, address: str | None = None) -> CloudSlot:
    return CloudSlot(name=name, address=address)


def named(numbers: list[int]) -> list[CloudSlot]:
    return [slot(f"etcd-{number}") for number in numbers]


def problems(*wanted: CloudSlot, subnet: str = "10.1.1.0/24") -> list[str]:
    found = slots.check_addresses(ipaddress.IPv4Network(subnet), wanted, "slots", {"10.1.1.5": "the bastion's"})
    return [str(problem) for problem in found]


@given(NUMBERS)
def test_slot_addresses_are_unique_and_in_the_subnet(numbers: list[int]) -> None:
    addresses = slots.plan_addresses(SUBNET, named(numbers))
    assert len(set(addresses.values())) == len(numbers)
    assert all(ipaddress.ip_address(address) in SUBNET for address in addresses.values())
    assert problems(*named(numbers)) == []


@given(NUMBERS, st.data())
def test_an_address_does_not_depend_on_other_slots(numbers: list[int], data: st.DataObject) -> None:
    before = slots.plan_addresses(SUBNET, named(numbers))
    others = data.draw(st.permutations(numbers + data.draw(NUMBERS.map(lambda new: [n for n in new if n > 200]))))
    kept = data.draw(st.lists(st.sampled_from(others), min_size=1, unique=True))
    after = slots.plan_addresses(SUBNET, named(kept))
    assert all(before[name] == address for name, address in after.items() if name in before)


@given(st.integers(8, 28), st.integers(0, 300_000))
def test_a_planned_address_is_never_reserved(length: int, number: int) -> None:
    subnet = ipaddress.IPv4Network(f"10.0.0.0/{length}")
    address = slots.planned(subnet, f"etcd-{number}")
    if address is not None:
        assert ipaddress.ip_address(address) in list(subnet.hosts()) if length > 20 else True
        assert ipaddress.ip_address(address) not in (subnet.network_address, subnet.broadcast_address)


def test_the_number_in_the_name_is_the_number_in_the_address() -> None:
    assert slots.plan_addresses(SUBNET, named([1, 2, 3])) == {
        "etcd-1": "10.1.1.11",
        "etcd-2": "10.1.1.12",
        "etcd-3": "10.1.1.13",
    }


def test_a_configured_address_overrides_the_planned_one() -> None:
    assert slots.plan_addresses(SUBNET, [slot("etcd-1", "10.1.1.99")]) == {"etcd-1": "10.1.1.99"}


@pytest.mark.parametrize(
    ("slot", "said"),
    [
        (slot("red"), "a slot's name must end in a number"),
        (slot("etcd-250"), "a slot's name must end in a number that fits into 10.1.1.0/24"),
        (slot("a", "10.1.2.11"), "must be in the subnet"),
        (slot("a", "10.1.1.0"), "the subnet's own"),
        (slot("a", "10.1.1.255"), "broadcast"),
        (slot("a", "10.1.1.5"), "reserved: it is the bastion's"),
        (slot("a", "10.1.1.300"), "must be an IPv4 or IPv6 address"),
        (slot("a", "10.1.1.11/24"), "without port or prefix length"),
    ],
)
def test_an_invalid_address_is_refused(slot: CloudSlot, said: str) -> None:
    (found,) = problems(slot)
    assert said in found
    assert found.startswith("slots[0].address: given ")


def test_two_names_with_one_number_are_refused() -> None:
    (found,) = problems(slot("red-1"), slot("blue-1"))
    assert "slots[1].address" in found
    assert "red-1 has it too" in found
