"""The version of Kubernetes: which are accepted, what its kubeadm reads, and that it takes this etcd."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import PlanError, member_specs, warnings
from components.plan.kubernetes import (
    check_kubernetes_version,
    check_workload_name,
    kubeadm_api,
    kubernetes_warnings,
    release,
)
from components.plan.versions import MINORS, check_version, parse
from tests.unit.test_plan_spec import PLAN

MINIMA = {
    "1.29.6": "3.4.13",
    "1.30.14": "3.4.13",
    "1.31.14": "3.5.24",
    "1.32.13": "3.5.24",
    "1.33.13": "3.5.24",
    "1.34.4": "3.5.24",
    "1.35.4": "3.5.24",
    "1.36.3": "3.5.24",
    "1.37.2": "3.5.24",
}
"""Release of Kubernetes -> its MinExternalEtcdVersion (cmd/kubeadm/app/constants/constants.go); there is no maximum."""


@pytest.mark.parametrize(("kubernetes", "minimum"), MINIMA.items())
def test_every_known_kubeadm_takes_every_etcd_that_can_be_installed(kubernetes: str, minimum: str) -> None:
    assert not check_kubernetes_version(kubernetes)
    assert not kubernetes_warnings(kubernetes)
    lowest = parse(minimum)
    assert lowest is not None
    accepted = [
        version
        for series in ("3.3", "3.4", *MINORS)
        for patch in range(40)
        if not check_version(f"{series}.{patch}") and (version := parse(f"{series}.{patch}")) is not None
    ]
    assert min(accepted) >= lowest


def test_a_kubeadm_newer_than_the_known_ones_is_a_warning() -> None:
    (said,) = [each for each in warnings(replace(PLAN, kubernetes_version="1.38")) if "Kubernetes" in each]
    assert said.startswith("Kubernetes 1.38 is newer than 1.37")
    assert "upgrade etcd first" in said


@pytest.mark.parametrize(
    ("given_version", "rule", "remedy"),
    [
        ("v1.36.3", "written 1.Y or 1.Y.Z, without a v", "Write 1.36.3"),
        ("1.36.", "written 1.Y or 1.Y.Z", "Write it like 1.36 or 1.36.3"),
        ("stable-1.36", "written 1.Y or 1.Y.Z", "Write it like 1.36 or 1.36.3"),
        (1.36, "written 1.Y or 1.Y.Z", "Write it like 1.36 or 1.36.3"),
        ("1.21", "1.22 or newer", "Choose 1.22 or newer"),
        # A number in YAML loses its last zero.
        ("1.3", "1.22 or newer", "If 1.30 is meant, put it in quotes: YAML reads it as the number 1.3"),
    ],
)
def test_a_version_without_a_configuration_is_refused(given_version: object, rule: str, remedy: str) -> None:
    (problem,) = check_kubernetes_version(given_version, "kubernetesVersion")
    assert problem.key == "kubernetesVersion"
    assert rule in problem.rule
    assert problem.remedy == remedy


@given(st.text("1.v2 -\n", max_size=8) | st.from_regex(r"1\.\d{1,3}(\.\d{1,3})?", fullmatch=True))
def test_every_version_is_refused_or_has_a_configuration(version: str) -> None:
    if check_kubernetes_version(version):
        return
    parts = [int(part) for part in version.split(".")]
    assert kubeadm_api(version) == f"kubeadm.k8s.io/{'v1beta3' if parts[1] <= 30 else 'v1beta4'}"
    assert release(version) == (f"v{version}" if len(parts) == 3 else None)
    assert bool(kubernetes_warnings(version)) == (parts[1] > 37)


def test_no_member_depends_on_the_version_of_kubernetes() -> None:
    assert member_specs(replace(PLAN, kubernetes_version="1.36")) == member_specs(PLAN)
    with pytest.raises(PlanError, match="kubernetes_version"):
        member_specs(replace(PLAN, kubernetes_version="1.2"))


@given(st.from_regex(r"[a-z0-9.A-Z_-]{1,64}", fullmatch=True))
def test_an_accepted_name_makes_valid_names_of_secrets(name: str) -> None:
    problems = check_workload_name(name, "clusterApi.clusterName")
    if not problems:
        for secret in (f"{name}-etcd", f"{name}-apiserver-etcd-client"):
            assert len(secret) <= 253
            assert secret == secret.lower()
            assert all(part and part.strip("-") == part for part in secret.split("."))
        assert len(name) <= 63, "the longest value of a label"
    else:
        assert all("<name>-etcd" in each.rule and "RFC 1123" in each.rule for each in problems)
