"""`serviceManager` and `etcdImage`: what is valid, and what members get."""

from dataclasses import replace
from typing import Any

import pytest

from components.plan import ClusterPlan, MemberPlan, check_plan, member_specs
from components.plan.guard import judge
from components.plan.guard.state import State, read_state, wanted_state
from components.plan.restore import RestorePlan

IMAGE = f"https://mirror.example.com/etcd-3.6.16.tar#sha256={'a' * 64}"
MEMBERS = [MemberPlan(f"etcd-{n}", f"10.0.0.{n}") for n in (1, 2, 3)]
SYSTEMD = ClusterPlan("c", MEMBERS, "p")
KUBELET = replace(SYSTEMD, service_manager="kubelet", etcd_image=IMAGE)


def state(plan: ClusterPlan) -> State:
    return wanted_state(plan, generations={}, identities={}, certificates={})


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"service_manager": "kubelt"}, "service_manager", "must be systemd or kubelet. Did you mean 'kubelet'?"),
        ({"service_manager": "systemd"}, "etcd_image", "runs from its release and not from an image"),
        ({"etcd_image": None}, "etcd_image", "given nothing. Under the kubelet, etcd needs the archive of its image"),
        ({"etcd_image": "registry.example.com/etcd:3.6.16"}, "etcd_image", "a URL without credentials, and its SHA"),
        ({"etcd_image": IMAGE.replace("mirror", "me:secret@mirror")}, "etcd_image", "given a URL with credentials"),
        ({"flags": {"client-crl-file": "/etc/etcd/crl.pem"}}, "flags", "no other files than data and certificates"),
        ({"restore": RestorePlan("snapshot.db", "c")}, "service_manager", "A restore needs systemd"),
    ],
)
def test_a_wrong_service_manager_or_image_is_refused(changes: dict[str, Any], key: str, says: str) -> None:
    problems = check_plan(replace(KUBELET, **changes))
    assert [problem.key for problem in problems] == [key]
    assert says in str(problems[0])
    assert "secret" not in str(problems[0])


def test_both_service_managers_get_the_same_flags_but_for_the_certificates() -> None:
    unit, pod = (member_specs(plan)["etcd-1"] for plan in (SYSTEMD, KUBELET))
    assert pod["flags"]["--cert-file"] == "/etc/kubernetes/pki/etcd/server.crt"
    in_unit = {flag: value.replace("/etc/etcd/pki/", "PKI/") for flag, value in unit["flags"].items()}
    in_pod = {flag: value.replace("/etc/kubernetes/pki/etcd/", "PKI/") for flag, value in pod["flags"].items()}
    assert in_unit == in_pod
    assert {key: pod[key] for key in pod.keys() - unit.keys()} == {"service_manager": "kubelet", "image": IMAGE}


def test_under_systemd_the_recorded_state_stays_as_it_was() -> None:
    assert "image" not in state(SYSTEMD).data()
    assert "image" not in state(SYSTEMD).content()
    assert read_state(state(KUBELET).data()) == state(KUBELET)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (SYSTEMD, KUBELET, "systemd -> kubelet"),
        (KUBELET, SYSTEMD, "kubelet -> systemd"),
        (KUBELET, replace(SYSTEMD, flags={"max-txn-ops": "256"}), "--max-txn-ops; kubelet -> systemd"),
        (KUBELET, replace(KUBELET, etcd_image=IMAGE.replace("a" * 64, "b" * 64)), "another image"),
    ],
)
def test_the_guard_announces_one_restart_of_each_member(before: ClusterPlan, after: ClusterPlan, reason: str) -> None:
    verdict = judge(state(before), state(after))
    assert not verdict.refused
    restarts = [step.text for step in verdict.steps if "restarts" in step.text]
    assert restarts == [f"etcd-{n} restarts: {reason}" for n in (1, 2, 3)]


def test_service_manager_and_version_cannot_change_in_one_update() -> None:
    verdict = judge(state(replace(SYSTEMD, version="3.5.35")), state(KUBELET))
    assert verdict.refused
    assert "the version or the service manager, not both" in str(verdict.problems[0])
    assert verdict.updates == ("version: 3.6.16", "service_manager: kubelet")
