"""Certificates are written only when etcd can use them."""

import datetime
import os
import types
from dataclasses import replace
from pathlib import Path

import pytest

from components.node.machine import account
from components.node.protocol import etcd
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


def a_bundle(begins: datetime.timedelta, life: datetime.timedelta = datetime.timedelta(days=365)) -> Bundle:
    """Its peer certificate is valid from then on, for so long from now on."""
    files = {"ca.crt": CA.certificate, "peer-ca.crt": CA.certificate}
    for kind in ("server", "peer", "healthcheck-client"):
        when = begins if kind == "peer" else datetime.timedelta()
        until = life if kind == "peer" else datetime.timedelta(days=365)
        files[f"{kind}.crt"], files[f"{kind}.key"] = CA.issue("etcd-1", begins=when, life=until)
    return Bundle("", files)


def test_certificates_that_are_not_yet_valid_are_not_written(pki: Path) -> None:
    said = r"valid from 20\S+Z to 20\S+Z, and the clock of this machine says 20\S+Z"
    with pytest.raises(NodeError, match=said) as caught:
        certificates.install(a_bundle(datetime.timedelta(minutes=2)))
    assert "clock" in caught.value.remedy
    assert "another `certificates.validityHours`" in caught.value.remedy, "pulumi-tls renews only by the end"
    assert list(pki.iterdir()) == []


def test_certificates_that_have_expired_do_not_replace_valid_ones(pki: Path) -> None:
    """The clock of the operator's computer is behind, so that pulumi-tls has issued them for the past."""
    certificates.install(a_bundle(datetime.timedelta()))
    before = {path.name: path.read_text() for path in pki.iterdir()}
    with pytest.raises(NodeError, match="and the clock of this machine says") as caught:
        certificates.install(a_bundle(datetime.timedelta(), life=datetime.timedelta(minutes=-1)))
    assert "the computer that runs `pulumi up`" in caught.value.remedy
    assert "validityHours" not in caught.value.remedy, "pulumi-tls issues them again"
    assert {path.name: path.read_text() for path in pki.iterdir()} == before


def test_files_of_an_earlier_etcd_are_refused_by_name(pki: Path) -> None:
    certificates.refuse_foreign()
    pki.mkdir()
    certificates.refuse_foreign()
    (pki / "server.key").touch()
    with pytest.raises(
        NodeError, match=r"pki holds server\.key, which this program did not write; nothing was changed"
    ):
        certificates.refuse_foreign()


def test_a_slightly_late_clock_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("components.node.service.certificates.time.sleep", slept.append)
    assert "peer.crt" in certificates.install(a_bundle(datetime.timedelta(seconds=4)))
    assert 2 < slept[0] <= 4
    assert certificates.install(a_bundle(datetime.timedelta()))
    assert slept[1] == 0


def test_a_request_uses_the_certificates_that_were_written_last(pki: Path) -> None:
    """They are loaded once, and again only when one of the files was replaced."""
    certificates.install(a_bundle(datetime.timedelta()))
    first = {name: etcd._context(name, pki) for name in ("peer", "healthcheck-client")}
    assert first["peer"] is not first["healthcheck-client"]
    assert {name: etcd._context(name, pki) for name in first} == first
    bundle = a_bundle(datetime.timedelta())
    for changed in ("peer.key", "peer-ca.crt"):
        if changed == "peer-ca.crt":
            bundle = replace(bundle, files={**bundle.files, changed: f"{CA.certificate}\n"})
        certificates.install(bundle)
        renewed = etcd._context("peer", pki)
        assert renewed is not first["peer"]
        first["peer"] = renewed
    (pki / "peer.crt").unlink()
    with pytest.raises(NodeError, match="cannot be used"):
        etcd._context("peer", pki)
