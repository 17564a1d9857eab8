"""Which etcd versions are accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import versions
from tests.support.versions import DEFAULT_ETCD, ETCD_VERSIONS


def test_tested_versions_have_no_warning() -> None:
    for text in ETCD_VERSIONS:
        version = versions.parse(text)
        assert version is not None
        assert versions.check_version(text) == []
        assert versions.version_warnings(version) == []


def test_the_default_version_is_tested() -> None:
    assert versions.DEFAULT_VERSION == DEFAULT_ETCD


@pytest.mark.parametrize(
    ("text", "rule", "remedy"),
    [
        ("v3.6.16", "X.Y.Z", "Write 3.6.16"),
        ("3.6", "X.Y.Z", "Newest known"),
        ("3.6.16-rc.0", "X.Y.Z", "Newest known"),
        ("3.06.1", "X.Y.Z", "Newest known"),
        ("latest", "X.Y.Z", "3.6.16"),
        ("", "X.Y.Z", "Newest known"),
        ("3.6.16\n", "X.Y.Z", "Write 3.6.16"),
        (3.6, "X.Y.Z", "Newest known"),
        ("3.4.30", "3.5, 3.6, 3.7", "Choose one"),
        ("3.9.1", "3.5, 3.6, 3.7", "Choose one"),
        ("4.0.0", "3.5, 3.6, 3.7", "Choose one"),
        ("3.5.23", "kubeadm refuses an external etcd below 3.5.24", "Choose 3.5.35"),
    ],
)
def test_an_unsupported_version_is_refused(text: object, rule: str, remedy: str) -> None:
    [problem] = versions.check_version(text)
    assert problem.key == "version"
    assert repr(text) in problem.value
    assert rule in problem.rule
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("text", "warning"), [("3.6.99", "3.6.99 is newer than 3.6.16"), ("3.5.24", "an upgrade to 3.6 needs")]
)
def test_an_unknown_newer_patch_and_an_old_one_with_a_defect_are_warnings(text: str, warning: str) -> None:
    version = versions.parse(text)
    assert version is not None
    assert versions.check_version(text) == []
    assert warning in " ".join(versions.version_warnings(version))


@given(st.integers(0, 9999), st.integers(0, 9999), st.integers(0, 9999))
def test_every_version_survives_a_round_trip(major: int, minor: int, patch: int) -> None:
    text = f"{major}.{minor}.{patch}"
    assert str(versions.parse(text)) == text


@given(st.text())
def test_any_string_is_a_version_or_refused(text: str) -> None:
    assert versions.parse(text) is not None or versions.check_version(text)
