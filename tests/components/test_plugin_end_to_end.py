"""The stand-in plugins under the real engine: keys, certificates and commands, from the first run to destroy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.sshd import Sshd, new_key
from tools.pulumi import ensure_pulumi

REPO = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, os
import pulumi, pulumi_tls as tls
from pulumi_command import remote

machine = json.loads(os.environ["MACHINE"])
ca_key = tls.PrivateKey("ca", algorithm="ECDSA", ecdsa_curve="P256")
ca = tls.SelfSignedCert("ca", private_key_pem=ca_key.private_key_pem, subject={"common_name": "ca"},
    is_ca_certificate=True, allowed_uses=["cert_signing", "crl_signing", "digital_signature"],
    validity_period_hours=87600)
key = tls.PrivateKey("leaf", algorithm="ECDSA", ecdsa_curve="P256")
request = tls.CertRequest("leaf", private_key_pem=key.private_key_pem, subject={"common_name": "leaf"},
    dns_names=["localhost"], ip_addresses=["127.0.0.1"])
leaf = tls.LocallySignedCert("leaf", cert_request_pem=request.cert_request_pem, ca_cert_pem=ca.cert_pem,
    ca_private_key_pem=ca_key.private_key_pem, allowed_uses=["server_auth", "client_auth"], validity_period_hours=48,
    early_renewal_hours=int(os.environ["EARLY"]))
command = remote.Command("converge", connection=remote.ConnectionArgs(**machine), create="wc -l; echo in progress >&2",
    delete="echo retired", stdin=pulumi.Output.concat(leaf.cert_pem, key.private_key_pem, os.environ["MORE"]))
pulumi.export("lines", command.stdout)
pulumi.export("serial", leaf.id)
pulumi.export("key", key.private_key_pem)
"""


class Project:
    def __init__(self, folder: Path, sshd: Sshd, private: str) -> None:
        self.folder = folder
        machine = {"host": "127.0.0.1", "port": sshd.port, "private_key": private, "host_key": sshd.host_key}
        (folder / "state").mkdir()
        (folder / "Pulumi.yaml").write_text("name: standins\nruntime: python\n")
        (folder / "__main__.py").write_text(PROGRAM)
        path = [str(REPO / "lab/plugins/bin"), str(ensure_pulumi()), str(REPO / ".venv/bin"), os.environ["PATH"]]
        self.environ = {
            **os.environ,
            "PATH": os.pathsep.join(path),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            # Otherwise the CLI looks for the plugins of every package in the virtual environment, on the network.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "MACHINE": json.dumps(machine),
            "EARLY": "24",
            "MORE": "",
        }
        self.environ.pop("SSH_AUTH_SOCK", None)
        self.texts: list[str] = []

    def pulumi(self, *arguments: str, fails: bool = False, **environ: str) -> str:
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        self.texts.append(done.stdout + done.stderr)
        return done.stdout

    def up(self, **environ: str) -> dict[str, Any]:
        self.pulumi("up", "--yes", "--skip-preview", fails=False, **environ)
        outputs: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json"))
        return outputs


@pytest.fixture
def sshd() -> Iterator[tuple[Sshd, str]]:
    private, public = new_key()
    with Sshd(user_keys=[public]) as server:
        yield server, private


def test_a_program_with_keys_certificates_and_a_command_lives_its_whole_life(
    sshd: tuple[Sshd, str], tmp_path: Path
) -> None:
    server, private = sshd
    project = Project(tmp_path, server, private)
    assert shutil.which("pulumi-resource-tls", path=project.environ["PATH"]) == str(
        REPO / "lab/plugins/bin/pulumi-resource-tls"
    )
    create = "wc -l; echo in progress >&2"
    project.pulumi("stack", "init", "dev")

    project.pulumi("preview")
    assert server.commands == []

    first = project.up()
    assert server.commands == [create]
    assert "in progress" in project.texts[-2]

    project.pulumi("preview", "--expect-no-changes")
    project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert server.commands == [create]

    changed = project.up(MORE="one\ntwo\n")
    assert server.commands == [create] * 2
    assert (int(changed["lines"]), changed["serial"]) == (int(first["lines"]) + 2, first["serial"])
    assert "[diff: ~stdin]" in project.texts[-2]

    project.pulumi("preview", "--expect-no-changes", fails=True, EARLY="48", MORE="one\ntwo\n")
    renewed = project.up(EARLY="48", MORE="one\ntwo\n")
    assert server.commands == [create] * 3
    assert renewed["serial"] != changed["serial"]

    project.pulumi("refresh", "--yes", MORE="one\ntwo\n")
    assert len(server.commands) == 3

    state = project.pulumi("stack", "export")
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert server.commands[3:] == ["echo retired"]
    for text in (state, *project.texts):
        assert "PRIVATE KEY" not in text


def test_a_failed_command_is_told_and_tried_again_by_the_next_run(sshd: tuple[Sshd, str], tmp_path: Path) -> None:
    server, private = sshd
    project = Project(tmp_path, server, private)
    project.pulumi("stack", "init", "dev")
    gate = tmp_path / "gate"
    program = project.folder / "__main__.py"
    program.write_text(PROGRAM.replace('create="wc -l;', f'create="test -e {gate} || exit 3; wc -l;'))
    project.pulumi("up", "--yes", "--skip-preview", fails=True)
    assert 'Process exited with status 3: running "test -e ' in project.texts[-1]
    gate.touch()
    assert project.up()["lines"]
    gate.unlink()
    project.pulumi("up", "--yes", "--skip-preview", fails=True, MORE="x\n")
    gate.touch()
    project.pulumi("up", "--yes", "--skip-preview", MORE="x\n")
    assert len(server.commands) == 4
    project.pulumi("destroy", "--yes", "--skip-preview")
