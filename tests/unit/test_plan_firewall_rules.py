"""The list of who can connect to which port, and the machine's rules for it."""

import ipaddress
import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from components.node.machine import nftables as on_machine
from components.plan.firewall_rules import member_rules, outside
from tests.support.needs import require_program

RANGES = st.lists(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(
        lambda pair: str(ipaddress.ip_network((int(pair[0]), pair[1]), strict=False))
    ),
    max_size=6,
)
MEMBERS = ["10.1.1.11", "10.1.1.12", "10.1.1.13"]


def test_only_members_are_peers_and_clients_are_added() -> None:
    rules = member_rules(MEMBERS, operators=["203.0.113.7/32"], clients=["10.1.2.0/24"], metrics=[])
    members = ["10.1.1.11/32", "10.1.1.12/31"]
    assert rules == {"22": ["203.0.113.7/32"], "2379": [*members, "10.1.2.0/24"], "2380": members, "2381": members}


def test_the_machines_own_metrics_are_open_to_those_who_reach_etcds() -> None:
    rules = member_rules(MEMBERS, operators=None, clients=[], metrics=["10.1.9.0/24"], machine_metrics=True)
    assert rules["2382"] == rules["2381"] == ["10.1.1.11/32", "10.1.1.12/31", "10.1.9.0/24"]


def test_without_operators_ssh_is_closed() -> None:
    assert member_rules(MEMBERS, operators=[], clients=[], metrics=[])["22"] == []


def test_unmanaged_ssh_has_no_rule() -> None:
    rules = member_rules(MEMBERS, operators=None, clients=[], metrics=[])
    assert set(rules) == {"2379", "2380", "2381"}
    assert " 22" not in on_machine.render(rules)


def test_ipv4_and_ipv6_ranges_can_be_mixed() -> None:
    rules = member_rules(
        MEMBERS, operators=["2001:db8::/32", "203.0.113.0/24", "2001:db8:1::/48"], clients=[], metrics=[]
    )
    assert rules["22"] == ["203.0.113.0/24", "2001:db8::/32"]


@given(RANGES, st.ip_addresses(v=4))
def test_only_addresses_in_a_range_are_admitted(clients: list[str], stranger: ipaddress.IPv4Address) -> None:
    rules = member_rules(MEMBERS, operators=[], clients=clients, metrics=[])
    wanted = str(stranger) in MEMBERS or any(stranger in ipaddress.IPv4Network(text) for text in clients)
    assert any(stranger in ipaddress.IPv4Network(text) for text in rules["2379"]) is wanted


def test_the_order_of_ranges_makes_no_difference() -> None:
    one = member_rules(MEMBERS, operators=["10.0.0.1/32", "10.0.0.9/32"], clients=[], metrics=[])
    other = member_rules(MEMBERS[::-1], operators=["10.0.0.9/32", "10.0.0.1/32"], clients=[], metrics=[])
    assert one == other


def test_the_machine_drops_all_other_traffic_to_its_ports() -> None:
    text = on_machine.render({"22": ["203.0.113.0/24", "2001:db8::/32"], "2380": ["10.1.1.11/32"]})
    assert "ip saddr { 203.0.113.0/24 } tcp dport 22 accept" in text
    assert "ip6 saddr { 2001:db8::/32 } tcp dport 22 accept" in text
    assert text.index("tcp dport 2380 accept") < text.index("tcp dport { 22, 2380 } drop")


def test_nft_accepts_the_rules(tmp_path: Path) -> None:
    require_program("nft", "nftables")
    rules = member_rules(MEMBERS, operators=["203.0.113.7/32", "2001:db8::/32"], clients=["10.1.2.0/24"], metrics=[])
    file = tmp_path / "rules.nft"
    file.write_text(on_machine.render(rules))
    done = subprocess.run(["nft", "-c", "-f", file], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0 or "not permitted" in done.stderr.lower(), done.stderr


def test_the_outside_of_a_network_is_its_complement() -> None:
    rules = member_rules(MEMBERS, operators=["203.0.113.7/32", *outside("10.1.0.0/16")], clients=[], metrics=[])
    ranges = [ipaddress.ip_network(text) for text in rules["22"]]
    assert sum(each.num_addresses for each in ranges if each.version == 4) == 2**32 - 2**16
    for address, inside in (("10.0.255.255", False), ("10.1.0.0", True), ("10.1.255.255", True), ("10.2.0.0", False)):
        assert any(ipaddress.ip_address(address) in each for each in ranges) != inside
    assert any(ipaddress.ip_address("2001:db8::7") in each for each in ranges)
    # An operator inside it is admitted explicitly.
    assert (
        "10.1.9.9/32"
        in member_rules(MEMBERS, operators=["10.1.9.9/32", *outside("10.1.0.0/16")], clients=[], metrics=[])["22"]
    )
