"""How unexpected errors are reported."""

import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.node import cli
from components.node.protocol import etcd
from components.node.shared import say
from components.node.shared.errors import NodeError
from components.plan import cloud_init

from .node_support import a_spec


def test_a_full_disk_is_reported_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        say.phase("write a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "_run", full)
    assert cli.main(["converge", "{}"]) == 1
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "in the phase: write a file. Free space" in said


def test_etcds_own_authentication_error_names_the_required_user(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = SimpleNamespace(returncode=1, stdout="", stderr="Error: etcdserver: permission denied")
    monkeypatch.setattr(etcd, "run", lambda *_, **__: refused)
    with pytest.raises(NodeError, match="permission denied") as caught:
        etcd.etcdctl(a_spec(), ["10.99.0.11"], ["get", "key"])
    assert "grant-role kube-etcd-healthcheck-client root" in caught.value.remedy


def test_a_verb_of_an_ended_run_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    del capfd  # redirects standard output and error to files
    say.refuse_abandoned()
    for reader, writer in (os.pipe(), tuple(end.detach() for end in socket.socketpair())):
        kept = os.dup(1)
        try:
            os.dup2(writer, 1)
            os.close(writer)
            say.refuse_abandoned()
            os.close(reader)
            with pytest.raises(NodeError, match="the run that started this has ended"):
                say.refuse_abandoned()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
    monkeypatch.setitem(say._state, "reader", "gone")
    with pytest.raises(NodeError):
        say.refuse_abandoned()


def test_a_verb_that_waited_for_a_retire_reports_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for verb in ("prepare", "bootstrap", "converge", "health"):
        assert callable(cli._change(verb))
    for verb in ("retire", "drain"):
        assert callable(cli._leaving(verb))
    cli._refuse_removed()
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "cli.py"))
    with pytest.raises(NodeError, match=r"a `retire` of an earlier run .* Run again"):
        cli._refuse_removed()


def test_a_long_verb_reports_its_phase_repeatedly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More often than bastions close idle connections."""
    assert 2 * say._STILL_SECONDS < cloud_init._CHANNEL_SECONDS
    monkeypatch.setattr(say, "_STILL_SECONDS", 0.05)
    said = ""
    with say.deadline("converge", 20):
        say.phase("wait for the others")
        while said.count("still at: wait for the others") < 2:
            said += capsys.readouterr().err
    capsys.readouterr()
    time.sleep(0.2)
    assert capsys.readouterr().err == ""
