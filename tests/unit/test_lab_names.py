"""Names, slots and addresses of a lab."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import names
from lab.errors import LabError

_HOST = {ipaddress.IPv4Network("192.0.2.0/24"): "an address of eth0"}


@given(st.text(min_size=1), st.integers(1, names.MAX_MACHINES))
def test_every_interface_name_of_every_lab_fits_the_kernels_fifteen_characters(path: str, slot: int) -> None:
    lab = names.lab_id(Path("/") / path.replace("\0", ""))
    assert len(lab) <= 15
    assert len(names.cable(lab, slot)) <= 15


def test_each_directory_has_its_own_stable_id() -> None:
    assert names.lab_id(Path("/a/.lab")) != names.lab_id(Path("/b/.lab"))
    assert names.lab_id(Path("/a/.lab")) == names.lab_id(Path("/a/.lab"))


def test_the_range_is_a_private_24_that_follows_from_the_id() -> None:
    subnet = names.choose_subnet("eel000007", _HOST)
    assert subnet == ipaddress.IPv4Network("10.99.7.0/24")
    assert names.bridge_address(subnet) == "10.99.7.1"
    assert names.machine_address(subnet, 1) == "10.99.7.11"
    assert names.machine_address(subnet, names.MAX_MACHINES) == "10.99.7.99"


def test_a_range_in_use_is_skipped() -> None:
    taken = {ipaddress.IPv4Network("10.99.255.0/24"): "the lab in /x", ipaddress.IPv4Network("10.99.0.0/25"): "a route"}
    assert names.choose_subnet("eel0000ff", taken) == ipaddress.IPv4Network("10.99.1.0/24")


def test_without_a_free_range_the_error_names_cause_and_remedy() -> None:
    with pytest.raises(LabError, match=r"10\.0\.0\.0/8 \(a route by tun0\).*LAB_SUBNET"):
        names.choose_subnet("eel000007", {ipaddress.IPv4Network("10.0.0.0/8"): "a route by tun0"})


def test_a_configured_range_is_used() -> None:
    assert names.choose_subnet("eel000007", _HOST, "172.20.5.0/24") == ipaddress.IPv4Network("172.20.5.0/24")


def test_a_configured_range_in_use_is_refused_with_its_user() -> None:
    with pytest.raises(LabError, match=r"LAB_SUBNET is 10\.99\.3\.0/24.*the lab in /x"):
        names.choose_subnet("eel000007", {ipaddress.IPv4Network("10.99.3.0/24"): "the lab in /x"}, "10.99.3.0/24")


@pytest.mark.parametrize("text", ["10.99.7.0/16", "10.99.7.3/24", "8.8.8.0/24", "fd00::/64", "nonsense", "10.99.7.0"])
def test_a_configured_range_must_be_a_private_24(text: str) -> None:
    with pytest.raises(LabError, match="LAB_SUBNET is"):
        names.parse_subnet(text)


@pytest.mark.parametrize("name", ["Etcd", "-a", "a-", "a.b", "", "a b", "x" * 64, "localhost", "../x"])
def test_an_invalid_host_name_is_refused(name: str) -> None:
    with pytest.raises(LabError):
        names.check_names([name])


def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(LabError, match="twice"):
        names.check_names(["a", "b", "a"])


def test_numbered_names_get_their_slot_and_others_the_lowest_free() -> None:
    assert names.assign_slots(["db", "etcd-1", "etcd-3"], {}) == {"etcd-1": 1, "etcd-3": 3, "db": 2}
    assert names.assign_slots(["etcd-1", "etcd-2"], {"etcd-1": 1, "db": 2}) == {"etcd-2": 3}


def test_a_full_lab_refuses_another_machine() -> None:
    used = {f"m{n}": n for n in range(1, names.MAX_MACHINES + 1)}
    with pytest.raises(LabError, match="There is no slot"):
        names.assign_slots(["one-more"], used)
