"""The network rehearsal names closed ports and wrong source addresses before etcd needs them."""

import re
from collections.abc import Sequence

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, member_list, process_ids
from tests.support.machines import Machines, slow_links
from tests.support.stacks import Stacks, machine_config

_FIREWALL = (
    "nft 'add table inet fw; add chain inet fw in {{ type filter hook input priority 0; }}; "
    "add rule inet fw in {}iif != lo tcp dport {{ {} }} {}'"
)
_REJECT = "reject with icmpx type admin-prohibited"
_PROXIES = (
    "mkdir -p /etc/systemd/system.conf.d && printf '[Manager]\\nDefaultEnvironment=HTTPS_PROXY=http://10.9.9.9:3128 "
    "https_proxy=http://10.9.9.9:3128 ALL_PROXY=http://10.9.9.9:3128\\n' >/etc/systemd/system.conf.d/proxy.conf && "
    "systemctl daemon-reexec"
)


def _close(machine: Machine, ports: str, how: str, *, to: Machine | None = None) -> None:
    """Add a firewall on the machine, against all others or one."""
    machine.run(_FIREWALL.format(f"ip saddr {to.address} " if to else "", ports, how), root=True)


def _open(machine: Machine) -> None:
    machine.run("nft delete table inet fw", root=True)


def _come_from(machine: Machine, source: str) -> None:
    """Make the machine use this source address, which may be a second address of its own."""
    net = machine.address.rpartition(".")[0]
    machine.run(
        f"ip addr replace {source}/24 dev host0 && ip route replace {net}.0/24 dev host0 src {source}", root=True
    )


def _states(machines: Sequence[Machine]) -> set[str]:
    return {machine.run("systemctl is-active etcd", check=False, root=True).stdout.strip() for machine in machines}


def test_closed_ports_and_wrong_addresses_are_named_before_any_start(machines: Machines, stacks: Stacks) -> None:
    """A proxy for all systemd units is configured from the start, and must not disturb."""
    found = machines.fresh(3)
    first, second, third = found
    for machine in found:
        machine.run(_PROXIES, root=True)
    # Etcd variables for all units would be seen there too.
    assert "10.9.9.9" in first.run("systemctl show-environment", root=True).stdout
    _close(second, "2379, 2380", _REJECT)
    other = f"{third.address.rpartition('.')[0]}.222"
    _come_from(third, other)
    stack = stacks.new(found)

    run = stack.up(check=False)

    assert run.code != 0
    assert run.seconds < 60
    for port in (2379, 2380):
        assert f"{first.name} cannot reach {second.name}:{port} (rejected: a firewall on {second.name}?)" in run.text
    said = f"{third.name} reaches {first.name} from {other}, not from its address {third.address}: its certificate will"
    assert said in run.text
    assert "no etcd was started" in run.text
    assert _states(found) == {"inactive"}
    assert not any(machine.run("ls /var/lib/etcd", root=True).stdout for machine in found)

    _open(second)
    _come_from(third, third.address)
    for machine in found:
        # As after half an hour: prepared machines are not prepared again.
        machine.run("systemctl stop etcd-network-rehearsal", root=True)
        slow_links(machine, 150)
    far = stack.up(check=False)
    assert "round trips between members are too long: " in far.text
    assert f"{second.name} to {third.name} 150 ms" in far.text
    assert _states(found) == {"inactive"}

    stack.config["acknowledge"] = ["slow-link"]
    stack.up()
    assert_serves_all_members(found)
    environ = first.run("cat /proc/$(systemctl show -P MainPID etcd)/environ", root=True).stdout
    assert "10.9.9.9" not in environ
    stack.config["flags"] = {"max-txn-ops": 256}
    noted = rf"Slow links when last measured: .*{second.name} to {third.name} \(150 ms\).* at most 100 ms, .*: yes\."
    assert re.search(noted, stack.preview().text)
    del stack.config["flags"]
    assert not any(
        machine.run("systemctl -q is-active etcd-network-rehearsal", check=False).returncode == 0 for machine in found
    )
    stack.up("--expect-no-changes")


def test_a_machine_without_connection_in_both_directions_does_not_join(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped(4)
    first, second, third, fourth = found
    before = process_ids(found[:3])
    listed = member_list(first)
    stack.config["machines"] = [machine_config(machine) for machine in (first, second, fourth)]
    _close(second, "2380", _REJECT, to=fourth)
    _close(fourth, "2380", "drop", to=third)

    inward = stack.up(check=False)
    assert f"{fourth.name} cannot reach {second.name}:2380 (rejected: a firewall on {second.name}?)" in inward.text
    assert "nothing was changed" in inward.text

    _open(second)
    _close(fourth, "2380", "drop", to=second)
    outward = stack.up(check=False)
    assert f"{second.name} cannot reach {fourth.name}:2380 (no connection came from {second.address}" in outward.text
    # The third one leaves in the same edit, so its connection to the new one does not matter.
    assert f"{third.name} cannot reach" not in outward.text
    assert _states([fourth]) == {"inactive"}
    assert member_list(first) == listed
    assert process_ids(found[:3]) == before

    _open(fourth)
    stack.up()
    assert process_ids(found[:2]) == {name: before[name] for name in (first.name, second.name)}
    assert_serves_all_members([first, second, fourth])
