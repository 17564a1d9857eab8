"""The stand-in plugins with the real engine: keys, certificates and commands, from the first run to destroy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lab.engine import environment
from tests.support.sshd import Sshd, new_key
from tests.support.stacks import REPO, Stack, program_stack

PROGRAM = """
import json, os
import pulumi, pulumi_tls as tls
from pulumi_command import remote

ca_key = tls.PrivateKey("ca", algorithm="ECDSA", ecdsa_curve="P256")
ca = tls.SelfSignedCert("ca", private_key_pem=ca_key.private_key_pem, subject={"common_name": "ca"},
    is_ca_certificate=True, allowed_uses=["cert_signing"], validity_period_hours=87600)
key = tls.PrivateKey("leaf", algorithm="ECDSA", ecdsa_curve="P256")
request = tls.CertRequest("leaf", private_key_pem=key.private_key_pem, subject={"common_name": "leaf"},
    dns_names=["localhost"], ip_addresses=["127.0.0.1"])
leaf = tls.LocallySignedCert("leaf", cert_request_pem=request.cert_request_pem, ca_cert_pem=ca.cert_pem,
    ca_private_key_pem=ca_key.private_key_pem, allowed_uses=["server_auth"], validity_period_hours=48,
    early_renewal_hours=int(os.environ["EARLY"]))
connection = remote.ConnectionArgs(**json.loads(os.environ["MACHINE"]))
remote.CopyToRemote("program", connection=connection, source=pulumi.FileAsset(os.environ["FILE"]), remote_path="there")
command = remote.Command("converge", connection=connection,
    create=os.environ["CREATE"], delete="echo retired", add_previous_output_in_env=False,
    stdin=pulumi.Output.concat(leaf.cert_pem, key.private_key_pem))
"""
CREATE = "wc -l; echo in progress >&2"


def state(stack: Stack) -> dict[str, dict[str, Any]]:
    """Resources by type; of each type the one with the last name, because their order in the state varies."""
    resources = sorted(stack.export()["deployment"]["resources"], key=lambda resource: str(resource["urn"]))
    return {resource["type"].rpartition(":")[2]: resource for resource in resources}


def test_keys_certificates_files_and_commands_from_first_run_to_destroy(tmp_path: Path) -> None:
    private, public = new_key()
    home, file, other = tmp_path / "home", tmp_path / "file", tmp_path / "other"
    home.mkdir()
    file.write_text("a program")
    with Sshd(user_keys=[public], home=home) as server:
        machine = {"host": "127.0.0.1", "port": server.port, "private_key": private, "host_key": server.host_key}
        environ = environment(tmp_path / "engine") | {"MACHINE": json.dumps(machine), "FILE": str(file), "EARLY": "24"}
        environ["PATH"] = f"{REPO / 'lab/plugins/bin'}{os.pathsep}{environ['PATH']}"
        stack = program_stack("standins", PROGRAM, tmp_path, {**environ, "CREATE": "exit 3"}, {})

        # A failed command is reported, and the next run tries it again.
        said = stack.up(check=False).text
        assert 'Process exited with status 3: running "exit 3":' in said
        assert state(stack)["LocallySignedCert"]
        assert "Command" not in state(stack)
        # The engine keeps a hash of a file, so the same content at another path is no change.
        (home / "there").rename(other)
        assert other.read_text() == file.read_text()
        stack.environ |= {"CREATE": CREATE, "FILE": str(other)}
        said += (run := stack.up()).text
        assert "in progress" in run.text
        assert not list(home.iterdir())
        first = state(stack)
        assert int(first["Command"]["outputs"]["stdout"]) > 10
        assert server.commands == ["exit 3", CREATE]

        # The renewal window has come: a new certificate, and the command again. Refresh and preview run nothing.
        other.write_text("another")
        stack.environ["EARLY"] = "48"
        said += (run := stack.pulumi("up", "--yes", "--refresh")).text
        assert "[diff: ~source]" in run.text
        assert (home / "there").read_text() == "another"
        assert "1 to replace" in run.text
        assert "[diff: ~stdin]" in run.text
        renewed = state(stack)
        kept = {kind for kind in first if renewed[kind].get("id") == first[kind].get("id")}
        assert set(first) - kept == {"LocallySignedCert"}
        assert server.commands == ["exit 3", CREATE, CREATE]

        said += json.dumps(stack.export()) + stack.destroy().text
        assert server.commands[3:] == ["echo retired"]
    assert "PRIVATE KEY" not in said
