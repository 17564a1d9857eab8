"""Which etcd versions may run together, and in which order."""

import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.node.protocol import versions
from components.node.protocol.versions import Seen
from components.node.shared.errors import NodeError

A_VERSION = st.builds("3.{}.{}".format, st.integers(4, 8), st.integers(0, 40))


@pytest.mark.parametrize(
    ("wanted", "running", "said"),
    [
        ("3.6.16", {"etcd-1": "3.6.11"}, ""),
        ("3.6.11", {"etcd-1": "3.6.16"}, ""),
        ("3.6.16", {"etcd-1": "3.5.35", "etcd-2": "3.6.16"}, ""),
        ("3.6.16", {"etcd-1": "3.5.31"}, "at least 3.5.32"),
        ("3.6.16", {"etcd-1": "3.5.35", "etcd-3": "3.5.31"}, "etcd-3 runs etcd 3.5.31"),
        ("3.7.3", {"etcd-1": "3.6.16", "etcd-2": "3.6.10"}, "at least 3.6.11"),
        ("3.7.3", {"etcd-1": "3.5.35"}, "skip a minor"),
        ("3.7.3", {"etcd-1": "3.6.16", "etcd-2": "3.5.35"}, "etcd-2 runs etcd 3.5.35, and 3.7.3 would skip"),
        ("3.5.35", {"etcd-1": "3.6.16"}, ""),
        ("3.5.35", {"etcd-1": "3.5.35", "etcd-2": "3.6.16"}, ""),
        ("3.6.16", {"etcd-1": "3.7.3"}, ""),
        ("3.5.31", {"etcd-1": "3.6.16"}, "could not be upgraded again: that needs at least 3.5.32"),
        ("3.6.10", {"etcd-1": "3.7.3"}, "at least 3.6.11"),
        ("3.5.35", {"etcd-1": "3.7.3"}, "goes back to 3.6 and no further"),
        ("3.5.35", {"etcd-1": "3.6.16", "etcd-2": "3.7.3"}, "etcd-2 runs etcd 3.7.3"),
        ("3.4.30", {"etcd-1": "3.5.35"}, "cannot go back"),
    ],
)
def test_versions_change_by_one_minor_from_and_to_a_late_enough_patch(
    wanted: str, running: dict[str, str], said: str
) -> None:
    if not said:
        versions.refuse_version(wanted, running)
        return
    with pytest.raises(NodeError, match=said) as caught:
        versions.refuse_version(wanted, running)
    assert "nothing was changed" in caught.value.cause
    assert "Set the version to" in caught.value.remedy


@given(A_VERSION, st.dictionaries(st.sampled_from(["etcd-1", "etcd-2", "etcd-3"]), A_VERSION))
def test_accepted_versions_differ_by_at_most_one_minor(wanted: str, running: dict[str, str]) -> None:
    with contextlib.suppress(NodeError):
        versions.refuse_version(wanted, running)
        for version in running.values():
            assert abs(versions.minor(version)[1] - versions.minor(wanted)[1]) <= 1


@given(A_VERSION, A_VERSION)
def test_a_downgraded_member_can_be_upgraded_again(higher: str, lower: str) -> None:
    assume(versions.minor(higher) > versions.minor(lower))
    try:
        versions.refuse_version(lower, {"etcd-1": higher})
    except NodeError:
        return
    versions.refuse_version(higher, {"etcd-1": lower})


@pytest.mark.parametrize(
    ("running", "said"),
    [
        ({}, ""),
        ({"etcd-2": "3.6.16", "etcd-3": "3.6.11"}, ""),
        ({"etcd-2": "3.6.16", "etcd-3": "3.5.35"}, ""),
        ({"etcd-2": "3.5.35", "etcd-3": "3.5.35"}, "Set the version to 3.5.35"),
    ],
)
def test_a_member_joins_only_with_a_running_minor(running: dict[str, str], said: str) -> None:
    if not said:
        versions.refuse_joining_version("etcd-1", "3.6.16", running)
        return
    with pytest.raises(NodeError, match=said):
        versions.refuse_joining_version("etcd-1", "3.6.16", running)


def test_membership_is_frozen_while_minors_are_mixed() -> None:
    versions.refuse_mixed("etcd-4 would join", {"etcd-1": "3.6.11", "etcd-2": "3.6.16"})
    with pytest.raises(NodeError, match=r"etcd-4 would join, .*\(etcd-1 3.6.16, etcd-2 3.5.35\)"):
        versions.refuse_mixed("etcd-4 would join", {"etcd-1": "3.6.16", "etcd-2": "3.5.35"})


def test_a_downgrade_is_enabled_only_at_the_later_version() -> None:
    def needed(*clusters: str) -> bool:
        seen = {f"etcd-{n}": Seen("3.6.16", cluster) for n, cluster in enumerate(clusters)}
        return versions.needs_permission("3.5.35", seen)

    assert needed("3.6.0", "3.6.0")
    # An incomplete upgrade, or a downgrade in progress.
    assert not needed("3.5.0", "3.5.0")
    with pytest.raises(NodeError, match=r"disagree .*\(etcd-0: 3.6.0; etcd-1: 3.5.0\)|disagree"):
        needed("3.6.0", "3.5.0")


@pytest.mark.parametrize(
    ("seen", "may"),
    [
        (Seen("3.6.16", "3.5.0", "3.5.0"), True),
        (Seen("3.6.16", "3.5.0"), True),
        (Seen("3.6.16", "3.5.0", "3.6.0"), False),
        (Seen("3.6.16", "3.6.0", "3.6.0"), False),
    ],
)
def test_an_older_etcd_waits_for_the_cluster_and_data_version(seen: Seen, *, may: bool) -> None:
    assert versions.may_run("3.5.35", seen) == may


def test_the_next_minor_waits_for_the_cluster_version() -> None:
    assert versions.may_follow("3.7.3", Seen("3.6.16", "3.6.0"))
    assert versions.may_follow("3.7.3", Seen("3.7.3", "3.6.0"))
    assert not versions.may_follow("3.7.3", Seen("3.6.16", "3.5.0"))
