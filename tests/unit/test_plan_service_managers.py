"""`serviceManager` and `etcdImage`: what is valid, and what members get."""

from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.node.shared.spec import parse
from components.plan import ClusterPlan, MemberPlan, check_plan, member_specs, spec_text
from components.plan.guard import judge
from components.plan.guard.state import State, read_state, wanted_state
from components.plan.service_managers import check_image_credentials

IMAGE = f"https://mirror.example.com/etcd-3.6.16.tar#sha256={'a' * 64}"
DIGEST = f"sha256:{'a' * 64}"
BY_DIGEST = f"registry.example.com/etcd@{DIGEST}"
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
        ({"etcd_image": None}, "etcd_image", "given nothing. Under the kubelet, etcd needs its image by digest, with"),
        ({"etcd_image": "registry.example.com/etcd:3.6.16"}, "etcd_image", "A tag can name another image tomorrow"),
        ({"etcd_image": f"etcd@{DIGEST}"}, "etcd_image", "its image by digest, with its registry"),
        ({"etcd_image": f"library/etcd@{DIGEST}"}, "etcd_image", "its image by digest, with its registry"),
        ({"etcd_image": f"registry.example.com/etcd@{DIGEST}0"}, "etcd_image", "by digest, with its registry"),
        ({"etcd_image": IMAGE.replace("mirror", "me:secret@mirror")}, "etcd_image", "given a value with credentials"),
        ({"etcd_image": f"me:secret@{BY_DIGEST}"}, "etcd_image", "must not be in it, but in etcd_image_credentials"),
        ({"flags": {"client-crl-file": "/etc/crl.pem"}}, "flags", "the directories of such files, which must be below"),
        ({"flags": {"client-crl-file": "/etc/kubernetes/crl.pem"}}, "flags", "like /etc/etcd-files/crl.pem"),
    ],
)
def test_a_wrong_service_manager_or_image_is_refused(changes: dict[str, Any], key: str, says: str) -> None:
    problems = check_plan(replace(KUBELET, **changes))
    assert [problem.key for problem in problems] == [key]
    assert says in str(problems[0])
    assert "secret" not in str(problems[0])


@pytest.mark.parametrize(
    "image",
    [
        BY_DIGEST,
        f"registry.example.com:5000/kubernetes/etcd:3.6.16-0@{DIGEST}",
        f"localhost/etcd@{DIGEST}",
        f"registry:5000/team__a/etcd.d/x-y@{DIGEST}",
        f"[fd00::1]:5000/etcd@{DIGEST}",
        IMAGE,
    ],
)
def test_an_image_by_digest_or_as_an_archive_is_accepted(image: str) -> None:
    plan = replace(KUBELET, etcd_image=image, flags={"client-crl-file": "/etc/etcd/crl.pem"})
    assert check_plan(plan) == []
    assert parse(spec_text({**member_specs(plan)["etcd-1"]})).image == image


@pytest.mark.parametrize(
    ("credentials", "image", "says"),
    [
        ("robot$etcd:pass word", IMAGE, "Credentials are for the registry of an image by digest"),
        ("robot$etcd:pass word", None, "Credentials are for the registry of an image by digest"),
        ("robot", BY_DIGEST, "must be USER:PASSWORD"),
        (":secret", BY_DIGEST, "must be USER:PASSWORD"),
        ("robot:secret\n", BY_DIGEST, "Check for a line break at its end"),
        (f"robot:{'s' * 4000}", BY_DIGEST, "at most 4000 characters"),
        ("robot$etcd:pass: word", BY_DIGEST, ""),
        (None, IMAGE, ""),
        (pulumi.Output.secret("robot:secret"), BY_DIGEST, ""),
    ],
)
def test_wrong_credentials_are_refused_and_never_shown(credentials: object, image: str | None, says: str) -> None:
    problems = check_image_credentials(credentials, image)
    assert [problem.key for problem in problems] == ["etcd_image_credentials"] * bool(says)
    assert says in "".join(map(str, problems))
    assert "secret" not in "".join(map(str, problems))


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
