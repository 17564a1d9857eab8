"""A start of a new cluster that fails leaves a machine on which the next run can start it."""

from pathlib import Path

import pytest

from components.node.cluster import rotation
from components.node.data import directory, identity
from components.node.data.identity import Identity
from components.node.machine import network
from components.node.protocol import etcd
from components.node.service import certificates, member, systemd
from components.node.shared import paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Bundle, Spec
from components.node.verbs import bootstrap

from .node_support import a_spec


def test_what_a_failed_first_start_left_is_moved_aside_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(paths, "IDENTITY", tmp_path / "identity.json")
    data = tmp_path / "etcd"
    spec = a_spec(data_directory=str(data), token="t", initial_members=["etcd-1", "etcd-2", "etcd-3"])
    bare = Identity("dev", "etcd-1", str(data), directories_created=(str(data),))
    identity.save(bare)

    def begin(_: Spec, __: str) -> None:
        """Etcd creates its database before its log, and ends."""
        (data / "member" / "snap").mkdir(parents=True)
        raise NodeError("etcd ended instead of starting", "Remove the cause.")

    monkeypatch.setattr(member, "begin", begin)
    monkeypatch.setattr(etcd, "each", lambda *_: {})
    monkeypatch.setattr(certificates, "authority", lambda _: ["a"])
    monkeypatch.setattr(systemd, "show", lambda: systemd.Service("inactive", "", 0, 0, "", True, False, False))
    for module, name in (
        (bootstrap, "_refuse_missing_release"),
        (certificates, "install"),
        (member, "forbid"),
        (network, "rehearse"),
        (network, "end"),
        (rotation, "refuse_too_early"),
    ):
        monkeypatch.setattr(module, name, lambda *_: None)
    for _ in range(2):
        with pytest.raises(NodeError, match="etcd ended"):
            bootstrap.bootstrap(spec, Bundle("", {}))
        assert identity.load() == bare
        directory.refuse_unknown_data(spec, bare)
        (aside,) = tmp_path.glob("etcd.dev-unfinished-*/member/snap")
        aside.rmdir()
        aside.parent.rmdir()
        aside.parent.parent.rmdir()
