"""The certificates that members present on their ports, checked with openssl, and the clients that they refuse."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.clients import speaks_to_peers
from tests.support.etcd import assert_serves_all_members, etcdctl_here, process_ids, write_client_files
from tests.support.manual import assert_as_in_the_manual
from tests.support.prober import probing
from tests.support.stacks import Stack


@pytest.fixture(scope="module")
def cluster(bootstrapped: Bootstrapped) -> tuple[list[Machine], Stack]:
    found, stack = bootstrapped()
    return found, stack


def _openssl(command: str, text: str = "") -> str:
    command = f"openssl {command}"
    done = subprocess.run(command, shell=True, input=text, capture_output=True, text=True, timeout=20, check=False)  # noqa: S602
    return done.stdout + done.stderr


def _presented(machine: Machine, port: int) -> str:
    """The certificate that a port presents, as `openssl x509 -text` shows it."""
    return _openssl("x509 -noout -text", _openssl(f"s_client -connect {machine.address}:{port}", "\n"))


def _names(text: str) -> set[str]:
    match = re.search(r"X509v3 Subject Alternative Name:[^\n]*\n\s+(.*)", text)
    return set(match.group(1).split(", ")) if match else set()


def _usages(text: str) -> set[str]:
    match = re.search(r"X509v3 Extended Key Usage:[^\n]*\n\s+(.*)", text)
    return set(match.group(1).split(", ")) if match else set()


BOTH = {"TLS Web Server Authentication", "TLS Web Client Authentication"}


@pytest.mark.parametrize(("port", "local"), [(2379, {"DNS:localhost", "IP Address:127.0.0.1"}), (2380, set())])
def test_a_members_certificate_names_only_this_member(
    cluster: tuple[list[Machine], Stack], port: int, local: set[str]
) -> None:
    for machine in cluster[0]:
        text = _presented(machine, port)
        assert _names(text) == {f"DNS:{machine.name}", f"IP Address:{machine.address}", *local}
        assert _usages(text) == BOTH


def test_all_keys_are_p256_and_unique(cluster: tuple[list[Machine], Stack]) -> None:
    texts = [_presented(machine, port) for machine in cluster[0] for port in (2379, 2380)]
    assert all("ASN1 OID: prime256v1" in text for text in texts)
    keys = [re.sub(r"\s", "", text[text.index("pub:") : text.index("ASN1 OID")]) for text in texts]
    assert len(set(keys)) == len(keys)


def test_client_certificates_have_no_organization_and_are_for_clients_only(
    cluster: tuple[list[Machine], Stack],
) -> None:
    found, stack = cluster
    texts = {"kube-apiserver-etcd-client": stack.outputs()["apiserver_etcd_client"]["certificate"]}
    texts["kube-etcd-healthcheck-client"] = found[0].run("cat /etc/etcd/pki/healthcheck-client.crt", root=True).stdout
    for common_name, pem in texts.items():
        assert _openssl("x509 -noout -subject -nameopt RFC2253", pem).strip() == f"subject=CN={common_name}"
        assert _usages(_openssl("x509 -noout -text", pem)) == {"TLS Web Client Authentication"}


def test_the_ca_is_valid_for_ten_years_and_certificates_for_one(cluster: tuple[list[Machine], Stack]) -> None:
    found, stack = cluster
    authority = stack.outputs()["ca_cert"]
    text = _openssl("x509 -noout -text", authority)
    assert "CA:TRUE" in text
    for pem, days in ((authority, 3650), (_openssl(f"s_client -connect {found[0].address}:2379", "\n"), 365)):
        for offset, code in ((-1, 0), (1, 1)):
            check = subprocess.run(
                ["openssl", "x509", "-noout", "-checkend", str((days + offset) * 86400)],
                input=pem,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            assert check.returncode == code


def test_the_certificates_output_lists_all_expiry_dates(cluster: tuple[list[Machine], Stack]) -> None:
    found, stack = cluster
    kinds = [f"{machine.name}/{kind}" for machine in found for kind in ("server", "peer")]
    clients = ["apiserver-etcd-client", "healthcheck-client"]
    assert set(stack.outputs()["certificates"]) == {"ca-1", "ca-peer-1", *clients, *kinds}


@pytest.mark.parametrize("port", [2379, 2380])
def test_a_client_without_a_certificate_is_refused(cluster: tuple[list[Machine], Stack], port: int) -> None:
    for machine in cluster[0]:
        answer = _openssl(f"s_client -connect {machine.address}:{port} -ign_eof", "GET /members HTTP/1.0\r\n\r\n")
        assert "certificate required" in answer
        assert "HTTP/" not in answer


@pytest.mark.parametrize("port", [2379, 2380])
def test_a_client_certificate_of_another_ca_is_refused(
    cluster: tuple[list[Machine], Stack], port: int, tmp_path: Path
) -> None:
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stranger -days 2"
    _openssl(f"{new} -keyout {tmp_path}/k -out {tmp_path}/c")
    for machine in cluster[0]:
        target = f"s_client -connect {machine.address}:{port} -cert {tmp_path}/c -key {tmp_path}/k -ign_eof"
        answer = _openssl(target, "GET /members HTTP/1.0\r\n\r\n")
        assert re.search("unknown ca|bad certificate|unknown certificate authority", answer), answer
        assert "HTTP/" not in answer


def test_the_peer_port_refuses_client_certificates(cluster: tuple[list[Machine], Stack], tmp_path: Path) -> None:
    """With one CA for all it can; tests/lab/test_authorities.py covers that."""
    found, stack = cluster
    write_client_files(tmp_path, stack.outputs())
    for end in ("crt", "key"):
        text = found[0].run(f"cat /etc/etcd/pki/healthcheck-client.{end}", root=True).stdout
        (tmp_path / f"healthcheck-client.{end}").write_text(text)
    for machine in found:
        for kind in ("client", "healthcheck-client"):
            assert not speaks_to_peers(machine, tmp_path / f"{kind}.crt", tmp_path / f"{kind}.key"), kind
    unit = found[0].run("cat /etc/systemd/system/etcd.service").stdout
    assert "--peer-trusted-ca-file=/etc/etcd/pki/peer-ca.crt" in unit
    assert found[0].run("cat /etc/etcd/pki/peer-ca.crt", root=True).stdout.count("BEGIN CERTIFICATE") == 1


def test_the_exported_client_certificate_is_accepted(cluster: tuple[list[Machine], Stack], tmp_path: Path) -> None:
    """The refusals above prove something only if a valid request succeeds."""
    found, stack = cluster
    outputs: dict[str, Any] = stack.outputs()
    options = write_client_files(tmp_path, outputs)
    assert etcdctl_here(*options, f"--endpoints={outputs['endpoints'][0]}", "get", "x").returncode == 0
    target = (
        f"s_client -connect {found[0].address}:2379 -cert {tmp_path}/client.crt -key {tmp_path}/client.key -ign_eof"
    )
    assert "HTTP/1.0 200" in _openssl(target, "GET /version HTTP/1.0\r\n\r\n")


def test_all_leaf_certificates_are_reissued_without_restart_or_gap(
    cluster: tuple[list[Machine], Stack], tmp_path: Path
) -> None:
    found, stack = cluster
    ports = [(machine, port) for machine in found for port in (2379, 2380)]
    before = [_presented(machine, port) for machine, port in ports]
    processes = process_ids(found)
    stack.config["certificates"] = {"validityHours": 4000}
    assert_as_in_the_manual(stack, "Renew certificates")
    with probing(stack, found, tmp_path, "All leaf certificates issued anew") as probe:
        time.sleep(2)  # idle time for comparison in the picture
        probe.mark("pulumi up")
        run = stack.up()
        probe.mark("done")
    print(f"{run.seconds:.1f} s")
    after = [_presented(machine, port) for machine, port in ports]
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert process_ids(found) == processes
    assert probe.downs == []
    assert probe.report.leader_moves == 0


def test_additional_names_need_no_restart(cluster: tuple[list[Machine], Stack]) -> None:
    found, stack = cluster
    processes = process_ids(found)
    stack.config["extraNames"] = ["etcd.example.com", "10.9.9.9"]
    stack.config["machines"][0]["extraNames"] = ["etcd-a.example.com"]
    stack.up()
    for machine in found:
        server, peer = (_names(_presented(machine, port)) for port in (2379, 2380))
        own = {"DNS:etcd-a.example.com"} if machine is found[0] else set()
        assert peer == {f"DNS:{machine.name}", f"IP Address:{machine.address}", *own}
        shared = {"DNS:localhost", "IP Address:127.0.0.1", "DNS:etcd.example.com", "IP Address:10.9.9.9"}
        assert server == peer | shared
    assert process_ids(found) == processes
    assert_serves_all_members(found)
