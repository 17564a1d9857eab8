"""The configuration of a migration from stacked etcd."""

from pathlib import Path
from typing import Any

import pytest

from components.plan import AuthorityPlan
from stacks.guard import compared
from stacks.ssh_settings import SshLogin
from tests.support.configurations import load

from .test_config_stack import HOST_KEY, PLAIN_KEY, directory, refusal, sound

__all__ = ["directory"]


def plane(number: int, **changes: Any) -> dict[str, Any]:
    return {"name": f"control-{number}", "address": f"10.0.1.1{number}", "ssh": {"hostKey": HOST_KEY}, **changes}


def migration(phase: str = "join", *planes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    given = {"phase": phase, "controlPlanes": list(planes or [plane(1), plane(2)])}
    return sound(migration=given, **changes)


def test_the_members_get_the_ca_of_the_control_planes_and_these_are_voters(directory: Path) -> None:
    own = {"host": "198.51.100.7", "hostKey": HOST_KEY, "user": "admin", "port": 2222}
    stack = load(migration("join", plane(1, ssh=own), plane(2)), directory)
    assert stack.plan.authorities == [AuthorityPlan("kubeadm", certificate=True, private_key=True)]
    assert stack.plan.issuer == "kubeadm"
    assert stack.plan.stacked == {"control-1": "10.0.1.11", "control-2": "10.0.1.12"}
    assert stack.control_planes["control-1"] == SshLogin("198.51.100.7", HOST_KEY, PLAIN_KEY, "admin", 2222)
    assert stack.control_planes["control-2"].host == "10.0.1.12"
    # One CA for clients and peers, as kubeadm has it.
    assert compared(stack, {}).plan.shares_authorities


def test_the_last_phase_needs_no_control_planes(directory: Path) -> None:
    assert load(sound(migration={"phase": "done"}), directory).plan.stacked == {}


def test_the_ca_of_the_control_planes_can_be_one_of_several(directory: Path) -> None:
    stack = load(migration(authorities=[{"name": "kubeadm"}, {"name": "2"}], issuer="kubeadm"), directory)
    assert stack.plan.authorities == [AuthorityPlan("kubeadm", certificate=True, private_key=True), AuthorityPlan("2")]


def test_without_a_migration_the_name_of_its_ca_means_nothing(directory: Path) -> None:
    stack = load(sound(authorities=[{"name": "kubeadm"}]), directory)
    assert stack.plan.authorities == [AuthorityPlan("kubeadm")]


@pytest.mark.parametrize(
    ("values", "key", "text"),
    [
        (migration("swich"), "migration.phase", "Did you mean 'switch'?"),
        (sound(migration={"controlPlanes": [plane(1)]}), "migration.phase", "required"),
        (migration("join", plane(1), plane(1)), "migration.controlPlanes", "its own name"),
        (migration("join", plane(1, address="10.0.0.11")), "migration.controlPlanes[0]", "cannot be both"),
        (migration("join", plane(1, hostname="x")), "migration.controlPlanes[0].hostname", "no such key"),
        (migration("join", plane(1, ssh={})), "migration.controlPlanes[0].ssh.hostKey", "required"),
        (migration("join", *map(plane, range(1, 6))), "machines", "at least 5"),
        (
            migration(firewall={"clients": ["10.0.1.11", "10.9.0.0/16"]}),
            "firewall.clients",
            "Add 10.0.1.12, or a range with them",
        ),
    ],
)
def test_an_impossible_migration_is_refused(values: dict[str, Any], key: str, text: str, directory: Path) -> None:
    problems = [problem for problem in refusal(values, directory).problems if problem.key == key]
    assert any(text in str(problem) for problem in problems), problems


def test_a_wrong_common_login_is_reported_once(directory: Path) -> None:
    problems = refusal(migration(ssh={"privateKeyFile": "missing"}), directory).problems
    assert len([problem for problem in problems if problem.key == "ssh.privateKeyFile"]) == 1


def test_a_firewall_that_lets_the_control_planes_in_is_accepted(directory: Path) -> None:
    assert load(migration(firewall={"clients": ["10.0.1.0/24"]}), directory).plan.stacked
