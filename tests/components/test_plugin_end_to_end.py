"""The stand-in plugins with the real engine: keys, certificates and commands, from the first run to destroy."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support import vault
from tests.support.sshd import Sshd, new_key
from tools.pulumi import ensure_pulumi

REPO = Path(__file__).resolve().parents[2]

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
            **vault.environment(),
            "PATH": os.pathsep.join(path),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            # Otherwise the CLI looks on the network for the plugins of every installed package.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "MACHINE": json.dumps(machine),
            "FILE": str(folder / "Pulumi.yaml"),
            "EARLY": "24",
            "CREATE": CREATE,
        }
        self.said = ""

    def pulumi(self, *arguments: str, fails: bool = False, **environ: str) -> str:
        """The output of one run."""
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
        self.said += done.stdout + done.stderr
        return done.stdout

    def state(self) -> dict[str, dict[str, Any]]:
        """Resources by type; of each type the one with the last name, because their order in the state varies."""
        file = self.folder / "state/.pulumi/stacks/standins/dev.json"
        self.said += file.read_text()
        resources = json.loads(file.read_text())["checkpoint"]["latest"]["resources"]
        resources.sort(key=lambda resource: str(resource["urn"]))
        return {resource["type"].rpartition(":")[2]: resource for resource in resources}


def test_keys_certificates_files_and_commands_from_first_run_to_destroy(tmp_path: Path) -> None:
    private, public = new_key()
    home, file = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    with Sshd(user_keys=[public], home=home) as server:
        project = Project(tmp_path, server, private)
        project.pulumi("stack", "init", "dev", f"--secrets-provider={vault.PROVIDER}")

        # A failed command is reported, and the next run tries it again.
        said = project.pulumi("up", "--yes", "--skip-preview", fails=True, CREATE="exit 3")
        assert 'Process exited with status 3: running "exit 3":' in said
        assert project.state()["LocallySignedCert"]
        assert "Command" not in project.state()
        # The engine keeps a hash of a file, so the same content at another path is no change.
        (home / "there").rename(file)
        assert file.read_text() == (tmp_path / "Pulumi.yaml").read_text()
        assert "in progress" in project.pulumi("up", "--yes", "--skip-preview", FILE=str(file))
        assert not list(home.iterdir())
        first = project.state()
        assert int(first["Command"]["outputs"]["stdout"]) > 10
        assert server.commands == ["exit 3", CREATE]

        # The renewal window has come: a new certificate, and the command again. Refresh and preview run nothing.
        file.write_text("another")
        said = project.pulumi("up", "--yes", "--refresh", EARLY="48", FILE=str(file))
        assert "[diff: ~source]" in said
        assert (home / "there").read_text() == "another"
        assert "1 to replace" in said
        assert "[diff: ~stdin]" in said
        renewed = project.state()
        kept = {kind for kind in first if renewed[kind].get("id") == first[kind].get("id")}
        assert set(first) - kept == {"LocallySignedCert"}
        assert server.commands == ["exit 3", CREATE, CREATE]

        project.pulumi("destroy", "--yes", "--skip-preview")
        assert server.commands[3:] == ["echo retired"]
    assert "PRIVATE KEY" not in project.said
