"""The systemd unit and the files of a member on a machine."""

import re

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members
from tests.support.machines import Machines


@pytest.fixture(scope="module")
def members(bootstrapped: Bootstrapped) -> list[Machine]:
    return bootstrapped()[0]


def test_systemd_rates_the_units_exposure_at_most_2_5(members: list[Machine]) -> None:
    rating = members[0].run("systemd-analyze security --no-pager etcd.service", root=True).stdout
    overall = re.search(r"Overall exposure level for etcd.service: ([\d.]+)", rating)
    assert overall, rating
    assert float(overall.group(1)) <= 2.5


def test_only_etcds_own_user_can_read_its_data(members: list[Machine]) -> None:
    for machine in members:
        assert machine.run("ps -o user= -p $(systemctl show etcd -p MainPID --value)").stdout.strip() == "etcd"
        assert machine.run("stat -c '%a %U:%G' /var/lib/etcd", root=True).stdout.strip() == "700 etcd:etcd"


def test_the_unit_has_readiness_and_resource_settings(members: list[Machine]) -> None:
    shown = (
        members[0]
        .run("systemctl show etcd -p Type -p Nice -p IOSchedulingClass -p LimitNOFILE -p MemoryLow -p Restart")
        .stdout
    )
    settings = dict(line.split("=", 1) for line in shown.splitlines())
    assert settings["Type"] == "notify"
    assert settings["Restart"] == "on-failure"
    assert int(settings["Nice"]) < 0
    assert int(settings["LimitNOFILE"]) >= 40000
    assert settings["MemoryLow"] not in ("", "0")


def test_members_restart_after_a_power_cut_of_all_machines(machines: Machines, members: list[Machine]) -> None:
    machines.lab.kill(*[machine.name for machine in members])
    machines.lab.start(*[machine.name for machine in members])
    for machine in members:
        machine.run("timeout 60 sh -c 'until systemctl is-active -q etcd; do sleep 0.2; done'", timeout=70)
    assert_serves_all_members(members)


def test_a_killed_etcd_is_restarted(members: list[Machine]) -> None:
    machine = members[1]
    machine.run("kill -9 $(systemctl show etcd -p MainPID --value)", root=True)
    machine.run("sleep 1; timeout 60 sh -c 'until systemctl is-active -q etcd; do sleep 0.2; done'", timeout=70)
    assert_serves_all_members(members)


def test_status_describes_the_member(members: list[Machine]) -> None:
    said = members[0].run("/usr/local/sbin/etcd-node status", root=True).stdout
    for text in (*(machine.name for machine in members), "3.6.16", "leader"):
        assert text in said


def test_a_machine_without_its_data_never_bootstraps_by_itself(machines: Machines, members: list[Machine]) -> None:
    machine = members[2]
    machine.run("systemctl stop etcd && mv /var/lib/etcd/member /var/lib/etcd.lost", root=True)
    machines.lab.stop(machine.name)
    machines.lab.start(machine.name)
    machine.run("systemctl start etcd; sleep 2", root=True, check=False)
    assert machine.run("systemctl is-active etcd", check=False).stdout.strip() != "active"
    assert machine.run("test -e /var/lib/etcd/member", check=False, root=True).returncode != 0
