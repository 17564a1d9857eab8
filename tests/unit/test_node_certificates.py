"""Certificates are written only when etcd can use them."""

import datetime
import os
import types
from pathlib import Path

import pytest

from components.node.machine import account
from components.node.service import certificates
from components.node.shared import paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Bundle
from tests.support.authority import OwnAuthority

CA = OwnAuthority()


@pytest.fixture(autouse=True)
def pki(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty directory for them."""
    me = types.SimpleNamespace(uid=os.getuid(), gid=os.getgid())
    monkeypatch.setattr(account, "get", lambda: me)
    monkeypatch.setattr(paths, "PKI", tmp_path / "pki")
    return tmp_path / "pki"


def a_bundle(begins: datetime.timedelta) -> Bundle:
    """Its peer certificate is valid from then on."""
    files = {"ca.crt": CA.certificate, "peer-ca.crt": CA.certificate}
    for kind in ("server", "peer", "healthcheck-client"):
        when = begins if kind == "peer" else datetime.timedelta()
        files[f"{kind}.crt"], files[f"{kind}.key"] = CA.issue("etcd-1", begins=when)
    return Bundle("", files)


def test_certificates_that_are_not_yet_valid_are_not_written(pki: Path) -> None:
    with pytest.raises(NodeError, match=r"valid from 20\S+Z on, and the clock of this machine says 20\S+Z") as caught:
        certificates.install(a_bundle(datetime.timedelta(minutes=2)))
    assert "clock" in caught.value.remedy
    assert list(pki.iterdir()) == []


def test_a_slightly_late_clock_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("components.node.service.certificates.time.sleep", slept.append)
    assert "peer.crt" in certificates.install(a_bundle(datetime.timedelta(seconds=4)))
    assert 2 < slept[0] <= 4
    assert certificates.install(a_bundle(datetime.timedelta()))
    assert slept[1] == 0
