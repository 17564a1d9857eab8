"""Enabling a downgrade, waiting until members can restart, and cancelling it."""

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import pytest

from components.node.protocol import etcd
from components.node.protocol.versions import Seen
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec
from components.node.upgrade import downgrade

from .node_support import a_spec, a_status

OLDER = a_spec(release={"version": "3.5.35", "mirror": "https://releases.example/etcd", "sha256": {}})
NEWER = a_spec()


class Cluster:
    """Three members that run 3.6.16; after a downgrade is enabled, the second look sees it applied."""

    def __init__(self) -> None:
        self.cluster = "3.6.0"
        self.target = ""
        self.said: list[str] = []
        self.looks = 0
        self.answer = (0, None, "")

    def seen(self, *_: object) -> Seen:
        self.looks += 1
        if self.target and self.looks > 3:
            self.cluster = self.target
        return Seen("3.6.16", self.cluster, self.cluster)

    def goes_back(self, *_: object) -> bool:
        return bool(self.target)

    def statuses(self, _: Spec, __: Mapping[str, str]) -> dict[str, etcd.Status]:
        one = a_status(1)
        return {"etcd-1": etcd.Status(**{**vars(one), "downgrade_to": self.target})}

    def etcdctl(self, spec: Spec, _: Sequence[str], words: Sequence[str], **__: object) -> tuple[int, Any, str]:
        self.said.append(f"{spec.release.version}: {' '.join(words)}")
        if words[1] == "enable" and self.answer[0] == 0:
            self.target = f"{words[2]}.0"
        return self.answer


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    for name in ("seen", "goes_back", "statuses", "etcdctl"):
        monkeypatch.setattr(etcd, name, getattr(cluster, name))
    return cluster


def test_a_downgrade_is_enabled_by_the_clusters_own_etcdctl(cluster: Cluster) -> None:
    downgrade.open_way(OLDER, "3.6.16", OLDER.members)
    assert cluster.said == ["3.6.16: downgrade validate 3.5", "3.6.16: downgrade enable 3.5"]
    assert cluster.cluster == "3.5.0"


def test_a_cluster_at_the_older_version_needs_no_downgrade(cluster: Cluster) -> None:
    cluster.cluster = "3.5.0"
    downgrade.open_way(OLDER, "3.6.16", OLDER.members)
    assert cluster.said == []


def test_a_run_that_was_interrupted_after_the_enabling_is_resumed(cluster: Cluster) -> None:
    cluster.target = "3.5.0"
    cluster.answer = (1, None, "Error: etcdserver: cluster has a downgrade job in progress")
    cluster.looks = -3
    downgrade.open_way(OLDER, "3.6.16", OLDER.members)
    assert cluster.said == ["3.6.16: downgrade validate 3.5"]


def test_a_refused_downgrade_restarts_no_member(cluster: Cluster) -> None:
    cluster.answer = (1, None, "Error: etcdserver: invalid downgrade target version")
    with pytest.raises(NodeError, match=r"refuses to go back to 3\.5 \(.*invalid.*nothing was restarted"):
        downgrade.open_way(OLDER, "3.6.16", OLDER.members)


def test_a_downgrade_is_cancelled_if_the_later_version_is_configured_again(cluster: Cluster) -> None:
    claim = mock.Mock()
    downgrade.cancel_unwanted(NEWER, claim)
    assert cluster.said == []
    cluster.target = "3.5.0"
    downgrade.cancel_unwanted(OLDER, claim)
    assert cluster.said == []
    assert not claim.hold.called
    downgrade.cancel_unwanted(NEWER, claim)
    assert cluster.said == ["3.6.16: downgrade cancel"]
    assert claim.hold.called
