"""Private keys exist only in the state's secrets and in files of etcd's user."""

import http.server
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import yaml

from components.ssh_private_key import shortest
from lab import Machine
from tests.support.machines import Machines
from tests.support.stacks import Stacks
from tests.support.web import served_by
from tools.base import cache


@contextmanager
def _sampled_processes(machines: list[Machine]) -> Iterator[list[str]]:
    """Command lines of all processes on the machines, sampled in a loop on each machine during the block."""
    samples: list[str] = []
    loop = "for i in $(seq 2000); do [ -e /tmp/sampled ] && break; ps -eww -o args; sleep 0.05; done"

    def sample(machine: Machine) -> None:
        samples.append(machine.run(loop, root=True, timeout=280).stdout)

    threads = [threading.Thread(target=sample, args=(machine,)) for machine in machines]
    for thread in threads:
        thread.start()
    try:
        yield samples
    finally:
        time.sleep(0.2)
        for machine in machines:
            machine.run("touch /tmp/sampled", root=True)
        for thread in threads:
            thread.join()


def _bodies(pem: str) -> list[str]:
    """The base64 lines of a PEM key, or of another secret, that identify it."""
    return [line for line in pem.splitlines() if len(line) > 40]


def _proxy(address: str, header: str) -> AbstractContextManager[str]:
    """A proxy for the mirror `mirror.invalid` that requires the header; yields its URL.

    Args:
        address: of this computer, for the machines.
        header: the value of `Authorization`.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def send_head(self) -> Any:
            host, path = urlsplit(self.path)[1:3]
            if host != "mirror.invalid" or self.headers.get("Authorization") != header:
                self.send_error(403)
                return None
            self.path = path
            return super().send_head()

    return served_by(Handler, address, directory=str(cache() / "etcd"))


def test_private_keys_are_only_in_files_of_etcds_user(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found)
    token = f"Bearer {secrets.token_hex(32)}"
    here = found[0].run("getent hosts releases.lab").stdout.split()[0]
    with _proxy(here, token) as proxy, _sampled_processes(found) as samples:
        stack.config |= {"releaseMirror": "http://mirror.invalid", "releaseProxy": proxy}
        # As in docs/reference.md; the CLI's change is kept for the following runs.
        stack.pulumi("config", "set", "--path", "--secret", "releaseHeaders.Authorization", token)
        written = yaml.safe_load((stack.directory / f"Pulumi.{stack.directory.name}.yaml").read_text())
        stack.config["releaseHeaders"] = written["config"]["external-etcd:releaseHeaders"]
        assert token not in json.dumps(stack.config)
        texts = [stack.preview("--diff").text, stack.preview("--json").text, stack.up("--diff").text]
    texts += [stack.preview("--diff").text, stack.preview("--json").text]
    stack.config["flags"] = {"max-txn-ops": "256"}
    texts += [stack.preview("--diff").text, stack.up("--json", check=False).text]
    texts.append(json.dumps(stack.export()))
    texts.append(stack.pulumi("stack", "output", "--json").text)

    keys = {
        f"{machine.name} {kind}": machine.run(f"cat /etc/etcd/pki/{kind}.key", root=True).stdout
        for machine in found
        for kind in ("server", "peer", "healthcheck-client")
    }
    keys["apiserver-etcd-client"] = stack.outputs()["apiserver_etcd_client"]["private_key"]
    keys["ssh"] = found[0].key_file.read_text()
    keys["ssh, as in the state"] = shortest(keys["ssh"])
    keys["mirror"] = token
    plain = stack.pulumi("stack", "export", "--show-secrets").text
    for resource in json.loads(plain)["deployment"]["resources"]:
        if resource["type"] == "tls:index/privateKey:PrivateKey":
            keys[resource["urn"]] = json.loads(resource["outputs"]["privateKeyPem"]["plaintext"])
        elif re.search("Command::test-.*-converge$", resource["urn"]):
            keys[resource["urn"]] = json.loads(resource["inputs"]["stdin"]["plaintext"])
    authority = next(key for name, key in keys.items() if name.endswith("PrivateKey::test-pki-1-ca"))

    assert len(samples) == 3
    assert all("etcd-node" in sample for sample in samples), "the samples must include the running program"
    for where, text in [*enumerate(texts), *enumerate(samples)]:
        assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY", text), where
        for name, key in keys.items():
            assert _bodies(key), name
            assert not any(line in text for line in _bodies(key)), (where, name)
    for machine in found:
        readable = machine.run(
            "find / -xdev \\( -path /proc -o -path /sys \\) -prune -o -type f -perm /o=r "
            "-exec grep -lIE 'BEGIN [A-Z ]*PRIVATE KEY-----$' {} + || true",
            root=True,
            timeout=120,
        )
        assert readable.stdout == ""
        # The pattern comes on stdin, because sudo logs command lines to the journal, which is searched too.
        search = "grep -rlFf - /etc /var /opt /usr/local /root /home /tmp /run || true"
        anywhere = machine.run(search, input=_bodies(authority)[0] + "\n", root=True, timeout=120)
        assert anywhere.stdout == "", "the CA's key is on no machine"
        anywhere = machine.run(search, input=f"{token}\n", root=True, timeout=120)
        assert anywhere.stdout == "", "the mirror's secret is on no machine"
        modes = machine.run("stat -c '%a %U:%G %n' /etc/etcd/pki/*.key", root=True).stdout.splitlines()
        assert len(modes) == 3
        assert all(line.startswith("600 etcd:etcd ") for line in modes), modes
