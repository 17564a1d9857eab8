"""The configuration of a stack: what is read, and how all errors are reported before any change."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import AuthorityPlan, PlanError, UserPlan
from stacks import config
from stacks.arguments import with_secrets
from stacks.hosts.config import FirewallConfig, HostsConfig
from stacks.keys import table
from stacks.platforms import PLATFORMS
from stacks.ssh_settings import Operator, SshLogin
from tests.support.configurations import load
from tests.support.sshd import new_key

KEYS = table(PLATFORMS).keys

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJyo2sTUMxnKx0DqJY0zVcVv7B8mCkG6m8jXcTHwNd0"


PLAIN_KEY, ENCRYPTED_KEY = new_key()[0], new_key(passphrase="hunter2")[0]


def machine(number: int, **changes: Any) -> dict[str, Any]:
    return {"name": f"etcd-{number}", "address": f"10.0.0.1{number}", "ssh": {"hostKey": HOST_KEY}, **changes}


MACHINES = [machine(1), machine(2), machine(3)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A project's directory with a valid ssh key in it."""
    file = tmp_path / "id_ed25519"
    file.write_text(PLAIN_KEY)
    file.chmod(0o600)
    return tmp_path


def sound(**changes: Any) -> dict[str, Any]:
    return {"platform": "hosts", "machines": MACHINES, "ssh": {"privateKeyFile": "id_ed25519"}, **changes}


def hosts(stack: config.StackConfig) -> HostsConfig:
    assert isinstance(stack.machines, HostsConfig)
    return stack.machines


def refusal(values: dict[str, Any], directory: Path, stack: str = "dev") -> PlanError:
    with pytest.raises(config.ConfigError) as refused:
        load(values, directory, stack)
    for problem in refused.value.problems:
        for part in (problem.key, problem.value, problem.rule, problem.remedy):
            assert part
            assert part.rstrip(".?") in str(refused.value)
    return refused.value


def test_a_minimal_configuration_gets_every_default(directory: Path) -> None:
    stack = load(sound(), directory)
    plan = stack.plan
    assert (stack.cluster_name, plan.version, plan.quota, plan.metrics) == ("dev", "3.6.16", "2GiB", "loopback")
    assert (plan.flags, plan.release_sha256, stack.warnings) == ({}, {}, ())
    assert (plan.authorities, plan.issuer) == ([AuthorityPlan("1")], "1")
    assert (plan.heartbeat_interval_ms, plan.election_timeout_ms) == (None, None)
    assert not stack.arguments, "the components have the same defaults"
    assert stack.cluster_api == config.ClusterApiConfig("dev", "default", "v1beta2")
    assert stack.prometheus_operator == config.PrometheusOperatorConfig("monitoring", {})
    assert plan.kubernetes_version is None
    assert plan.release_mirror.startswith("https://")
    assert [each.name for each in plan.members] == ["etcd-1", "etcd-2", "etcd-3"]
    first = hosts(stack).hosts[0]
    assert (first.identity, first.data_directory) == ("", "/var/lib/etcd")
    assert first.ssh == SshLogin("10.0.0.11", HOST_KEY, PLAIN_KEY, "root", 22)


def test_every_value_is_read(directory: Path) -> None:
    stack = load(
        sound(
            clusterName="prod",
            version="3.7.3",
            dataDirectory="/srv/etcd/data",
            releaseMirror="http://mirror",
            releaseSha256={"amd64": "A" * 64},
            quota="4GiB",
            metrics="private",
            heartbeatIntervalMs="50",
            electionTimeoutMs="500",
            flags={"max-txn-ops": 256, "enable-pprof": True, "log-level": "warn"},
            certificates={"validityHours": 100, "earlyRenewalHours": 10, "caValidityHours": 200},
            kubernetesVersion="1.30",
            clusterApi={"clusterName": "workload", "namespace": "clusters", "apiVersion": "v1beta1"},
            authentication=True,
            users=[{"name": "reader", "prefix": "/x/", "permission": "read"}],
            prometheus=True,
            prometheusOperator={"namespace": "watch", "labels": {"example.com/team": "db"}},
        ),
        directory,
    )
    plan = stack.plan
    assert (stack.cluster_name, plan.version, plan.quota, plan.metrics) == ("prod", "3.7.3", "4GiB", "private")
    assert (plan.heartbeat_interval_ms, plan.election_timeout_ms) == (50, 500)
    assert plan.flags == {"max-txn-ops": "256", "enable-pprof": "true", "log-level": "warn"}
    lifetimes = {"validity_hours": 100, "early_renewal_hours": 10, "ca_validity_hours": 200}
    assert stack.arguments["certificates"] == lifetimes
    assert stack.cluster_api == config.ClusterApiConfig("workload", "clusters", "v1beta1")
    assert (plan.prometheus, plan.prometheus_certificate) == (True, False)
    assert stack.prometheus_operator == config.PrometheusOperatorConfig("watch", {"example.com/team": "db"})
    assert plan.kubernetes_version == "1.30"
    assert (plan.authentication, plan.users) == (True, [UserPlan("reader", "/x/", "read")])
    assert hosts(stack).hosts[2].data_directory == "/srv/etcd/data"
    assert (plan.release_mirror, plan.release_sha256) == ("http://mirror", {"amd64": "A" * 64})


def test_a_machine_can_override_common_values(directory: Path) -> None:
    own = directory / "own"
    own.write_text(new_key()[0])
    own.chmod(0o400)
    bastion = {"host": "bastion.example", "hostKey": HOST_KEY, "user": "jump", "port": 2222}
    ways = {"host": "198.51.100.7", "hostKey": HOST_KEY, "user": "debian", "port": 2200, "privateKeyFile": "own"}
    machines = [machine(1, ssh=ways, identity="srv-42", dataDirectory="/srv/etcd"), machine(2), machine(3)]
    defaults = {"privateKeyFile": "id_ed25519", "user": "admin", "port": 22022, "bastion": bastion}
    stack = load(sound(machines=machines, ssh=defaults), directory)
    first, second, _ = hosts(stack).hosts
    assert (first.ssh.host, first.ssh.user, first.ssh.port) == ("198.51.100.7", "debian", 2200)
    assert (first.identity, first.data_directory) == ("srv-42", "/srv/etcd")
    assert first.ssh.private_key == own.read_text()
    assert (second.ssh.host, second.ssh.user, second.ssh.port) == ("10.0.0.12", "admin", 22022)
    assert second.ssh.bastion == SshLogin("bastion.example", HOST_KEY, PLAIN_KEY, "jump", 2222)


def test_the_ssh_key_can_be_a_configuration_secret(directory: Path) -> None:
    stack = load(sound(ssh=None, sshPrivateKey=PLAIN_KEY), directory)
    assert {each.ssh.private_key for each in hosts(stack).hosts} == {PLAIN_KEY}


def test_a_machines_file_has_paths_relative_to_the_project(directory: Path) -> None:
    (directory / ".lab").mkdir()
    ways = {"host": "10.0.0.11", "port": 22, "user": "operator", "privateKeyFile": "id_ed25519", "hostKey": HOST_KEY}
    (directory / ".lab" / "machines.json").write_text(json.dumps({"machines": [machine(1, ssh=ways)]}))
    stack = load({"platform": "hosts", "machinesFile": ".lab/machines.json"}, directory)
    assert hosts(stack).hosts[0].ssh.user == "operator"
    assert hosts(stack).hosts[0].ssh.private_key == PLAIN_KEY


KEY = {"privateKeyFile": "id_ed25519"}
READER = {"name": "reader", "prefix": "/x/", "permission": "read"}


def reached(**way: Any) -> dict[str, Any]:
    """One machine with this way to it."""
    return {"machines": [machine(1, ssh={"hostKey": HOST_KEY, **way})]}


REFUSED = [
    # Errors that the project's requirements name.
    ("zero members", {"machines": []}, "machines", "0 members", "1, 3, 5 or 7"),
    ("even members", {"machines": MACHINES[:2]}, "machines", "2 members", "odd"),
    ("nine members", {"machines": [machine(n) for n in range(1, 10)]}, "machines", "9 members", "at most 7"),
    ("same name", {"machines": [*MACHINES[:2], machine(3, name="etcd-1")]}, "machines[2].name", "etcd-1", "same name"),
    (
        "same address",
        {"machines": [*MACHINES[:2], machine(3, address="10.0.0.11")]},
        "machines[2].address",
        "10.0.0.11",
        "same address",
    ),
    ("no address", {"machines": [machine(1, address="etcd-1")]}, "machines[0].address", "etcd-1", "IPv4 or IPv6"),
    ("version unknown", {"version": "newest"}, "version", "newest", "X.Y.Z"),
    ("minor unknown", {"version": "3.8.0"}, "version", "3.8.0", "3.5, 3.6, 3.7"),
    ("flag unknown", {"flags": {"max-tnx-ops": 1}}, "flags.max-tnx-ops", "max-tnx-ops", "does not have this flag"),
    ("flag owned", {"flags": {"data-dir": "/x"}}, "flags.data-dir", "data-dir", "cannot be set here"),
    ("no DNS label", {"clusterName": "My Cluster"}, "clusterName", "My Cluster", "DNS label"),
    ("name no DNS label", {"machines": [machine(1, name="etcd_1")]}, "machines[0].name", "etcd_1", "DNS label"),
    # Others.
    ("platform", {"platform": "gcp"}, "platform", "gcp", "hosts"),
    ("no platform", {"platform": None}, "platform", "nothing", "required"),
    ("no machines", {"machines": None}, "machines", "nothing", "machinesFile"),
    ("machines no list", {"machines": {"a": 1}}, "machines", "an object", "list of objects"),
    ("machines no JSON", {"machines": "- a"}, "machines", "a text", "list of objects"),
    ("machine no object", {"machines": ["a"]}, "machines[0]", "a text", "an object"),
    ("both", {"machinesFile": "x.json"}, "machinesFile", "x.json", "machines or in machinesFile"),
    ("no file", {"machines": None, "machinesFile": "x.json"}, "machinesFile", "x.json", "No such file"),
    ("no JSON", {"machines": None, "machinesFile": "id_ed25519"}, "machinesFile", "id_ed25519", "JSON"),
    ("unknown key", {"verison": "3.6.16"}, "verison", "verison", "no such key"),
    ("unknown machine key", {"machines": [machine(1, adress="x")]}, "machines[0].adress", "adress", "no such key"),
    ("no host key", {"machines": [machine(1, ssh={})]}, "machines[0].ssh.hostKey", "nothing", "required"),
    ("empty host key", reached(hostKey=" "), "machines[0].ssh.hostKey", "' '", "text"),
    ("bad host key", reached(hostKey="AAAA"), "machines[0].ssh.hostKey", "AAAA", "host key"),
    ("cut host key", reached(hostKey=HOST_KEY[:20]), "machines[0].ssh.hostKey", "AAAA", "host key"),
    ("port", reached(port=0), "machines[0].ssh.port", "0", "65535"),
    ("port text", {"ssh": {**KEY, "port": "ssh"}}, "ssh.port", "ssh", "whole number"),
    ("user", {"ssh": {**KEY, "user": "a b"}}, "ssh.user", "a b", "login"),
    ("host", reached(host="a:22"), "machines[0].ssh.host", "a:22", "without port"),
    ("bastion", {"ssh": {**KEY, "bastion": {"host": "b"}}}, "ssh.bastion.hostKey", "nothing", "required"),
    ("no ssh key", {"ssh": None}, "ssh.privateKeyFile", "nothing", "private ssh key"),
    ("no key file", {"ssh": {"privateKeyFile": "none"}}, "ssh.privateKeyFile", "none", "No such file"),
    ("two keys", {"sshPrivateKey": PLAIN_KEY}, "ssh.privateKeyFile", "id_ed25519", "sshPrivateKey or in"),
    ("data directory", {"dataDirectory": "etcd"}, "dataDirectory", "etcd", "absolute"),
    ("mirror", {"releaseMirror": "mirror.example"}, "releaseMirror", "mirror.example", "https://"),
    ("sum", {"releaseSha256": {"amd64": "abc"}}, "releaseSha256.amd64", "abc", "64"),
    ("architecture", {"releaseSha256": {"x86_64": "abc"}}, "releaseSha256.x86_64", "abc", "amd64"),
    ("quota", {"quota": "2 gigs"}, "quota", "2 gigs", "size"),
    ("metrics", {"metrics": "public"}, "metrics", "public", "loopback"),
    ("heartbeat", {"heartbeatIntervalMs": "fast"}, "heartbeatIntervalMs", "fast", "whole number"),
    ("election", {"electionTimeoutMs": "300"}, "electionTimeoutMs", "300", "5 times"),
    ("flag type", {"flags": {"max-txn-ops": [1]}}, "flags.max-txn-ops", "a list", "text"),
    ("lifetime", {"certificates": {"validityHours": 0}}, "certificates.validityHours", "0", "at least one hour"),
    (
        "renewal",
        {"certificates": {"validityHours": 24, "earlyRenewalHours": 24}},
        "certificates.earlyRenewalHours",
        "24",
        "within",
    ),
    ("CA lifetime", {"certificates": {"caValidityHours": 8760}}, "certificates.caValidityHours", "8760", "outlive"),
    (
        "a prefix without authentication",
        {"users": [READER]},
        "users",
        "reader",
        "Without authentication, every certificate",
    ),
    (
        "a user's prefix",
        {"authentication": True, "users": [{**READER, "prefix": "a b"}]},
        "users[0].prefix",
        "'a b'",
        "A prefix must have",
    ),
    ("cluster api", {"clusterApi": {"namespace": "A"}}, "clusterApi.namespace", "A", "DNS label"),
    ("a cluster's name", {"clusterApi": {"clusterName": "a.b"}}, "clusterApi.clusterName", "a.b", "The Secrets <name>"),
    ("a version of it", {"clusterApi": {"apiVersion": "v1"}}, "clusterApi.apiVersion", "v1", "one of v1beta2, v1beta1"),
    ("an operator alone", {"prometheusOperator": {}}, "prometheusOperator", "an object", "no objects without"),
    (
        "a namespace",
        {"prometheus": True, "prometheusOperator": {"namespace": "A"}},
        "prometheusOperator.namespace",
        "A",
        "DNS label",
    ),
    (
        "the value of a label",
        {"prometheus": True, "prometheusOperator": {"labels": {"release": "a b"}}},
        "prometheusOperator.labels.release",
        "a b",
        "1 to 63 letters",
    ),
    (
        "the name of a label",
        {"prometheus": True, "prometheusOperator": {"labels": {"a/b/c": "x"}}},
        "prometheusOperator.labels.a/b/c",
        "x",
        "1 to 63 letters",
    ),
    ("kubernetes", {"kubernetesVersion": "v1.36"}, "kubernetesVersion", "v1.36", "without a v"),
]


@pytest.mark.parametrize(
    ("changes", "key", "value", "rule"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_bad_configuration_is_refused_with_key_value_rule_and_remedy(
    changes: dict[str, Any], key: str, value: str, rule: str, directory: Path
) -> None:
    refused = refusal(sound(**changes), directory)
    # An error causes no further ones.
    [problem] = refused.problems
    assert problem.key == key
    assert value in problem.value
    assert rule in problem.rule
    assert problem.remedy


@pytest.mark.parametrize("key", ["maxRequestBytes", "max-request-bytes"])
def test_a_flag_of_etcd_as_a_key_is_refused_with_its_place(key: str, directory: Path) -> None:
    [problem] = refusal(sound(**{key: 3145728}), directory).problems
    assert problem.remedy == "It is a flag of etcd: set `max-request-bytes` in `flags`"


def test_all_errors_are_reported_at_once(directory: Path) -> None:
    bad = sound(version="x", quota="x", metrics="x", colour="x", machines=MACHINES[:2], clusterApi={"namespace": "X"})
    keys = [problem.key for problem in refusal(bad, directory).problems]
    assert sorted(keys) == ["clusterApi.namespace", "colour", "machines", "metrics", "quota", "version"]


def test_a_misspelt_key_gets_a_suggestion(directory: Path) -> None:
    assert "Did you mean 'version'?" in str(refusal(sound(verson="3.6.16"), directory))


def test_a_stack_name_that_is_no_cluster_name_is_refused(directory: Path) -> None:
    refused = refusal(sound(), directory, stack="Prod_EU")
    assert refused.key == "clusterName"
    assert "'prod-eu'" in refused.remedy


def test_problems_in_the_machines_file_name_the_file(directory: Path) -> None:
    (directory / "m.json").write_text(json.dumps({"machines": [machine(1, address="x")], "more": 1}))
    refused = refusal(sound(machines=None, machinesFile="m.json"), directory)
    assert [problem.key for problem in refused.problems] == ["m.json: more", "m.json: machines[0].address"]


def test_two_machines_behind_one_ssh_address_are_refused(directory: Path) -> None:
    way = {"host": "198.51.100.7", "hostKey": HOST_KEY}
    refused = refusal(sound(machines=[machine(1, ssh=way), machine(2, ssh=way), machine(3)]), directory)
    assert refused.key == "machines[1].ssh.host"


def test_a_key_file_that_others_can_read_is_refused(directory: Path) -> None:
    (directory / "id_ed25519").chmod(0o644)
    refused = refusal(sound(), directory)
    assert (refused.key, len(refused.problems)) == ("ssh.privateKeyFile", 1)
    assert "mode 0644" in refused.rule
    assert "chmod 600" in refused.remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HOST_KEY, "without .pub"),
        ("", "ssh-keygen"),
        (ENCRYPTED_KEY, "with a passphrase"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "with a passphrase"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA\n-----END RSA PRIVATE KEY-----\n",
            "with a passphrase",
        ),
    ],
)
def test_a_file_without_a_usable_private_key_is_refused(text: str, expected: str, directory: Path) -> None:
    (directory / "id_ed25519").write_text(text)
    refused = refusal(sound(), directory)
    assert (refused.key, len(refused.problems)) == ("ssh.privateKeyFile", 1)
    assert expected in str(refused)


def openssh(kind: str, cipher: str = "none") -> str:
    """A private key in OpenSSH format, as far as it is read: kind of the public key, and cipher."""

    def field(text: bytes) -> bytes:
        return len(text).to_bytes(4, "big") + text

    public = field(field(kind.encode()) + field(b"AAAA"))
    body = b"openssh-key-v1\0" + field(cipher.encode()) + field(b"bcrypt") + field(b"") + b"\0\0\0\1" + public
    lines = base64.b64encode(body).decode()
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n"


PASSPHRASE = {"privateKeyFile": "id_ed25519", "privateKeyPassphrase": "hunter2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (openssh("sk-ssh-ed25519@openssh.com"), "agent: true"),
        (openssh("sk-ecdsa-sha2-nistp256@openssh.com", "aes256-ctr"), "agent: true"),
        (openssh("ssh-ed25519", "aes256-gcm@openssh.com"), "ssh-keygen -p -Z aes256-ctr"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "ssh-keygen -p -f COPY"),
    ],
)
def test_an_unusable_encrypted_key_is_refused_with_a_conversion_command(
    text: str, expected: str, directory: Path
) -> None:
    (directory / "id_ed25519").write_text(text)
    refused = refusal(sound(ssh=PASSPHRASE), directory)
    assert (refused.key, len(refused.problems)) == ("ssh.privateKeyFile", 1)
    assert expected in refused.remedy
    assert "hunter2" not in str(refused)


def test_a_passphrase_is_passed_only_with_an_encrypted_key(directory: Path) -> None:
    (directory / "id_ed25519").write_text(ENCRYPTED_KEY)
    (directory / "plain").write_text(PLAIN_KEY)
    (directory / "plain").chmod(0o600)
    others = {"ssh": {"hostKey": HOST_KEY, "privateKeyFile": "plain"}}
    bastion = {"host": "198.51.100.1", "hostKey": HOST_KEY}
    stack = load(
        sound(ssh={**PASSPHRASE, "bastion": bastion}, machines=[machine(1), machine(2, **others), machine(3)]),
        directory,
    )
    assert [each.ssh.passphrase for each in hosts(stack).hosts] == ["hunter2", "", "hunter2"]
    through = hosts(stack).hosts[0].ssh.bastion
    assert through is not None
    assert through.passphrase == "hunter2"
    assert "hunter2" not in repr(stack)


def test_a_key_in_an_agent_is_not_passed_on(directory: Path) -> None:
    own = {"ssh": {"hostKey": HOST_KEY, "privateKeyFile": "id_ed25519"}}
    bastion = {"host": "198.51.100.1", "hostKey": HOST_KEY, "privateKeyFile": "id_ed25519"}
    machines = [machine(1), machine(2, **own), machine(3)]
    stack = load(sound(ssh={"agent": True, "bastion": bastion}, machines=machines), directory)
    assert [each.ssh.private_key for each in hosts(stack).hosts] == ["", PLAIN_KEY, ""]
    assert all(each.ssh.bastion and each.ssh.bastion.private_key == PLAIN_KEY for each in hosts(stack).hosts)


@pytest.mark.parametrize(
    "more", [{"ssh": {"agent": True, "privateKeyFile": "id_ed25519"}}, {"sshPrivateKey": PLAIN_KEY}]
)
def test_a_private_key_and_an_agent_together_are_refused(more: dict[str, Any], directory: Path) -> None:
    assert refusal(sound(**{"ssh": {"agent": True}, **more}), directory).key == "ssh.agent"


def test_an_rsa_host_key_is_refused_with_a_remedy(directory: Path) -> None:
    rsa = "ssh-rsa " + base64.b64encode(b"\0\0\0\x07ssh-rsa" + bytes(300)).decode()
    bastion = {"host": "198.51.100.1", "hostKey": rsa}
    given = sound(
        ssh={"privateKeyFile": "id_ed25519", "bastion": bastion},
        machines=[machine(1, ssh={"hostKey": rsa}), machine(2), machine(3)],
    )
    problems = refusal(given, directory).problems
    assert {problem.key for problem in problems} == {"ssh.bastion.hostKey", "machines[0].ssh.hostKey"}
    assert all("ssh-keyscan -t ed25519" in problem.remedy for problem in problems)


def test_an_authority_that_cannot_issue_is_refused_without_showing_its_key(directory: Path) -> None:
    refused = refusal(
        sound(authorities=[{"name": "ours", "certificate": "none", "privateKey": "VERYSECRET"}]), directory
    )
    assert refused.key == "authorities[0].certificate"
    assert "VERYSECRET" not in str(refused)


def test_either_of_two_trusted_authorities_can_issue(directory: Path, own_authority: dict[str, str]) -> None:
    old = {"name": "old", "certificate": own_authority["certificate"]}
    stack = load(sound(authorities=[{"name": "1"}, old]), directory)
    assert [authority.name for authority in stack.plan.authorities] == ["1", "old"]
    assert stack.plan.issuer == "1"
    assert load(sound(authorities=[{"name": "1"}, {"name": "2"}], issuer="2"), directory).plan.issuer == "2"


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"authorities": []}, "authorities", "at least one"),
        ({"authorities": [{}]}, "authorities[0].name", "required"),
        ({"authorities": [{"name": "One"}]}, "authorities[0].name", "DNS label"),
        ({"authorities": [{"name": "1"}, {"name": "1"}]}, "authorities[1].name", "its own name"),
        ({"authorities": [{"name": "1"}], "issuer": "2"}, "issuer", "trusted CAs: 1"),
        ({"issuer": "old"}, "issuer", "trusted CAs: 1"),
        ({"authorities": [{"name": "1", "privateKey": "x"}]}, "authorities[0].certificate", "needs its certificate"),
        ({"peerAuthorities": []}, "peerAuthorities", "at least one"),
        ({"peerAuthorities": [{"name": "One"}]}, "peerAuthorities[0].name", "DNS label"),
        ({"peerAuthorities": [{"name": "p"}], "peerIssuer": "q"}, "peerIssuer", "trusted CAs: p"),
        ({"peerIssuer": "1"}, "peerIssuer", "one of peerAuthorities"),
    ],
)
def test_invalid_authorities_are_refused(directory: Path, changes: dict[str, Any], key: str, said: str) -> None:
    refused = refusal(sound(**changes), directory)
    assert refused.key == key
    assert said in str(refused)


def test_existing_machines_can_have_a_firewall(directory: Path) -> None:
    assert hosts(load(sound(), directory)).firewall is None
    stack = load(sound(firewall={"clients": ["10.1.2.0/24"]}), directory)
    assert hosts(stack).firewall == FirewallConfig(("10.1.2.0/24",))
    for wanted, key, said in (
        ({}, "firewall.clients", "required"),
        ({"clients": ["10.1.2.3/24"]}, "firewall.clients[0]", "Write 10.1.2.0/24"),
        ({"clients": ["0.0.0.0/0"]}, "firewall.clients[0]", "set firewall.openToTheWorld to true"),
    ):
        refused = refusal(sound(firewall=wanted), directory)
        assert (refused.key, said in str(refused)) == (key, True)
    assert hosts(load(sound(firewall={"clients": ["0.0.0.0/0"], "openToTheWorld": True}), directory)).firewall


def test_an_authority_in_both_lists_is_defined_once(directory: Path, own_authority: dict[str, str]) -> None:
    ours = {"name": "ours", "certificate": own_authority["certificate"], "privateKey": own_authority["private_key"]}
    stack = load(sound(authorities=[ours], peerAuthorities=[{"name": "ours"}]), directory)
    assert (stack.plan.peer_authorities, stack.plan.peer_issuer) == ([AuthorityPlan("ours")], "ours")
    refused = refusal(sound(authorities=[ours], peerAuthorities=[ours]), directory)
    assert refused.key == "peerAuthorities[0].certificate"
    assert "the name ours is enough" in str(refused)
    # Under another name it is still the same certificate.
    refused = refusal(sound(authorities=[ours], peerAuthorities=[{**ours, "name": "peers"}]), directory)
    assert refused.key == "peerAuthorities[0].certificate"
    assert "authorities[0]" in str(refused)


def test_a_peer_issuer_needs_its_private_key(directory: Path, own_authority: dict[str, str]) -> None:
    ours = {"name": "ours", "certificate": own_authority["certificate"]}
    for changes, key in (
        ({"peerAuthorities": [ours]}, "peerAuthorities[0].privateKey"),
        (
            {"authorities": [{"name": "1"}, ours], "peerAuthorities": [{"name": "ours"}]},
            "peerAuthorities[0].privateKey",
        ),
    ):
        assert [problem.key for problem in refusal(sound(**changes), directory).problems] == [key]


def test_an_authority_that_issues_needs_its_private_key(directory: Path, own_authority: dict[str, str]) -> None:
    refused = refusal(sound(authorities=[{"name": "ours", "certificate": own_authority["certificate"]}]), directory)
    assert [problem.key for problem in refused.problems] == ["authorities[0].privateKey"]


def test_one_certificate_under_two_names_is_refused(directory: Path, own_authority: dict[str, str]) -> None:
    ours = {"certificate": own_authority["certificate"], "privateKey": own_authority["private_key"]}
    refused = refusal(sound(authorities=[{"name": "a", **ours}, {"name": "b", **ours}]), directory)
    assert [problem.key for problem in refused.problems] == ["authorities[1].certificate"]


SECRET = "topsecret-0123456789"
HIDDEN: list[dict[str, Any]] = [
    {"sshPrivateKey": SECRET},
    {"authorities": SECRET},
    {"authorities": [SECRET]},
    {"authorities": [{"name": "a", "certificate": "x", "privateKey": [SECRET]}]},
    {"authorities": [{"name": "a", "certificate": "x", "privateKey": SECRET}]},
    {"authorities": [{"name": "a", "certificat": "x", "privatKey": SECRET}]},
    {"authorities": {"privateKey": SECRET}},
    {"sshPrivatKey": SECRET},
    {"ssh": {"privateKey": SECRET}},
    {"ssh": {"privateKeyFile": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}"}},
    {"machines": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}"},
    {"machines": [machine(1, ssh={"hostKey": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}"})]},
    {"quota": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}"},
]


@pytest.mark.parametrize("changes", HIDDEN)
def test_messages_contain_no_secrets(changes: dict[str, Any], directory: Path) -> None:
    assert SECRET not in str(refusal(sound(**changes), directory))


def test_a_configurations_repr_contains_no_secrets(directory: Path) -> None:
    stack = load(sound(), directory)
    assert PLAIN_KEY[40:80] not in repr(stack)
    assert "private_key" not in repr(stack)
    assert "topsecret" not in repr(SshLogin("h", "k", "topsecret", passphrase="topsecret"))
    assert "topsecret" not in repr(Operator("u", "p", "topsecret", "topsecret"))


def test_private_values_are_passed_on_as_secrets(directory: Path, own_authority: dict[str, str]) -> None:
    ours = {"name": "ours", "certificate": own_authority["certificate"], "privateKey": own_authority["private_key"]}
    registry = {"serviceManager": "kubelet", "etcdImage": f"r.example.com/etcd@sha256:{'a' * 64}"}
    secrets = {"releaseHeaders": {"Authorization": "Bearer topsecret"}, "etcdImageCredentials": "robot:topsecret"}
    stack = load(sound(authorities=[ours], **registry, **secrets), directory)

    async def secret() -> tuple[object, ...]:
        args = with_secrets(stack.arguments, stack.table)
        closed = (
            args["authorities"][0]["private_key"],
            args["release_headers"]["Authorization"],
            args["etcd_image_credentials"],
        )
        known = [await each.is_secret() for each in closed if isinstance(each, pulumi.Output)]
        return known, args["authorities"][0]["certificate"]

    assert asyncio.run(secret()) == ([True, True, True], own_authority["certificate"])


def test_credentials_without_a_registry_are_refused_at_their_key(directory: Path) -> None:
    said = str(refusal(sound(etcdImageCredentials="robot:topsecret"), directory))
    assert "etcdImageCredentials: given a value (not shown)" in said
    assert "or set etcdImage to such an image" in said


def test_pulumi_prints_the_refusal_without_a_stack_trace() -> None:
    # The language host prints a RunError as it is, and anything else with its trace.
    assert issubclass(config.ConfigError, pulumi.RunError)


def test_the_engines_configuration_is_read_with_unknown_keys(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    given = {
        f"external-etcd:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in sound().items()
    }
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({**given, "command:x": "y"}))
    assert len(config.load("dev", directory=directory).machines.members) == 3
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({**given, "external-etcd:verison": "3.6.16"}))
    with pytest.raises(config.ConfigError, match="verison"):
        config.load("dev", directory=directory)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([re.split(r"[.]", key.path)[-1] for key in KEYS]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([key.path for key in KEYS if "." not in key.path]), _JSON | st.text(max_size=20), max_size=6
    )
)
def test_any_input_is_accepted_or_refused_without_a_crash(directory: Path, changes: dict[str, Any]) -> None:
    try:
        load(sound(**changes), directory)
    except config.ConfigError as refused:
        assert refused.problems
