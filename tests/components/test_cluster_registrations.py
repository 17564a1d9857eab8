"""The registrations of `EtcdCluster`: parents, names, order, secrets; the same in preview and in update."""

import functools
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components import ChangeRefusedError, EtcdCluster
from components import cluster as cluster_module
from components.node.shared.limits import DEADLINES, LOCK_SECONDS
from components.plan import PlanError
from components.remote_command import AnswerError
from tests.support import recording
from tests.support.answers import LOGIN, marked
from tests.support.recording import (
    OPERATOR,
    Recorder,
    Registration,
    bundle_of,
    certificate,
    is_secret,
    plain_text,
    private_key,
    record,
)

MEMBERS = ("a", "b", "c")


def machines(count: int = 3, **changes: object) -> list[dict[str, object]]:
    ssh = {"host": "192.0.2.1", "host_key": "ssh-ed25519 AAAA", "private_key": "PRIVATE KEY of ssh", "user": "operator"}
    return [{"name": "abcdefg"[i], "address": f"10.0.0.{11 + i}", "ssh": ssh, **changes} for i in range(count)]


def cluster(preview: bool, **args: object) -> Recorder:
    """The cluster's registrations; recorded once for all tests with the same arguments."""
    return _cluster(preview, json.dumps({"members": machines(), **args}))


@functools.cache
def _cluster(preview: bool, args: str) -> Recorder:
    return record(lambda: EtcdCluster("dev", json.loads(args)), preview)


def test_resource_names_are_stable(preview: bool) -> None:
    recorder = cluster(preview)
    leaves = [f"dev-pki-{m}-{kind}" for m in MEMBERS for kind in ("server", "peer")]
    leaves += ["dev-pki-apiserver-etcd-client", "dev-pki-healthcheck-client"]
    assert sorted((r.type.rsplit(":", 1)[-1], r.name) for r in recorder.registrations) == sorted(
        [
            ("EtcdCluster", "dev"),
            ("EtcdPki", "dev-pki"),
            ("PrivateKey", "dev-pki-1-ca"),
            ("SelfSignedCert", "dev-pki-1-ca"),
            ("Stash", "dev-bootstrap"),
            ("Stash", "dev-change"),
            ("Stash", "dev-machines"),
            ("Command", "dev-health"),
            ("Command", "dev-whole"),
            *((type_, leaf) for leaf in leaves for type_ in ("PrivateKey", "CertRequest", "LocallySignedCert")),
            *(("EtcdMember", f"dev-{m}") for m in MEMBERS),
            *(("CopyToRemote", f"dev-{m}-program") for m in MEMBERS),
            *(("Command", f"dev-{m}-{verb}") for m in MEMBERS for verb in ("sftp", "prepare", "bootstrap", "converge")),
        ]
    )


def test_every_resource_is_a_child_of_its_component(preview: bool) -> None:
    recorder = cluster(preview)
    for registration in recorder.registrations:
        if registration.name == "dev":
            assert registration.parent == ""
        elif registration.name.startswith("dev-pki-"):
            assert registration.parent == "dev-pki"
        elif registration.name.count("-") == 2:
            assert registration.parent == registration.name.rsplit("-", 1)[0]
        else:
            assert registration.parent == "dev"


def test_nothing_starts_before_every_machine_is_prepared(preview: bool) -> None:
    recorder = cluster(preview)
    for member in MEMBERS:
        assert {f"dev-{m}-prepare" for m in MEMBERS} <= recorder.named(f"dev-{member}-bootstrap").depends_on


def test_initial_members_do_not_wait_for_each_other(preview: bool) -> None:
    recorder = cluster(preview)
    for member in MEMBERS:
        assert not {f"dev-{m}-bootstrap" for m in MEMBERS} & recorder.named(f"dev-{member}-bootstrap").depends_on


def test_members_are_converged_one_by_one_in_list_order(preview: bool) -> None:
    recorder = cluster(preview)
    before = {f"dev-{m}-bootstrap" for m in MEMBERS}
    for member in MEMBERS:
        others = {each for each in recorder.named(f"dev-{member}-converge").depends_on if "-pki-" not in each}
        assert others == before
        before = {f"dev-{member}-converge"}


@pytest.mark.parametrize("said", [{}, {"dev-b-bootstrap": ""}], ids=["all", "all but one"])
def test_only_members_that_begin_a_new_cluster_are_converged_together(said: dict[str, str]) -> None:
    """None can be ready before the others. One that gets no permission has a cluster already."""
    begin = {f"dev-{member}-bootstrap": "may begin" for member in MEMBERS}
    args: Any = {"members": machines(), "previous": None}
    recorder = record(lambda: EtcdCluster("dev", args), preview=False, said={**begin, **said})
    before = [recorder.named(f"dev-{member}-converge").depends_on for member in MEMBERS]
    assert ("dev-a-converge" in before[1]) is bool(said)
    assert all(begin.keys() <= each for each in (before if not said else before[:1]))
    assert recorder.named("dev-health").depends_on >= {f"dev-{member}-converge" for member in MEMBERS}


def test_members_are_converged_one_by_one_if_the_last_update_is_unknown() -> None:
    """Without `previous`; the answers of the first update stay in the state."""
    args: Any = {"members": machines()}
    begin = {f"dev-{member}-bootstrap": "may begin" for member in MEMBERS}
    recorder = record(lambda: EtcdCluster("dev", args), preview=False, said=begin)
    assert "dev-a-converge" in recorder.named("dev-b-converge").depends_on
    assert "dev-b-converge" in recorder.named("dev-c-converge").depends_on


def test_every_certificate_is_there_before_its_member_starts(preview: bool) -> None:
    recorder = cluster(preview)
    for member in MEMBERS:
        leaves = {"dev-pki-healthcheck-client", *(f"dev-pki-{member}-{kind}" for kind in ("server", "peer"))}
        assert leaves <= recorder.named(f"dev-{member}-converge").depends_on
        for leaf in leaves:
            certificate = recorder.named(leaf, "tls:index/locallySignedCert:LocallySignedCert")
            assert certificate.depends_on == {leaf, "dev-pki-1-ca"}


def test_health_is_checked_after_the_last_member(preview: bool) -> None:
    assert "dev-c-converge" in cluster(preview).named("dev-health").depends_on


def test_a_later_change_never_repeats_the_bootstrap(preview: bool) -> None:
    recorder = cluster(preview)
    for member in MEMBERS:
        assert set(recorder.named(f"dev-{member}-bootstrap").request.ignoreChanges) == {
            "connection",
            "create",
            "stdin",
            "logging",
        }
    assert list(recorder.named("dev-bootstrap").request.ignoreChanges) == ["input"]


def test_a_later_slot_never_bootstraps() -> None:
    first = cluster(preview=False, previous=None)
    later = cluster(preview=False, previous=first.outputs["dev"]["applied"])
    for member in MEMBERS:
        command = shlex.split(first.named(f"dev-{member}-bootstrap").inputs["create"])
        assert json.loads(command[-1])["initial_members"] == list(MEMBERS)
        assert later.named(f"dev-{member}-bootstrap").inputs["create"] == "true"


def test_machines_are_retired_before_the_ca_is_deleted(preview: bool) -> None:
    recorder = cluster(preview)
    for member in MEMBERS:
        prepare = recorder.named(f"dev-{member}-prepare")
        assert {"dev-bootstrap", "dev-pki-1-ca"} <= prepare.depends_on
        assert prepare.inputs["delete"].endswith(f" retire dev {OPERATOR['id']} {member}")


def test_only_a_whole_cluster_can_be_deleted(preview: bool) -> None:
    whole = cluster(preview).named("dev-whole")
    assert whole.request.deletedWith.endswith("::dev-bootstrap")
    assert whole.inputs["delete"].endswith("exit 1")
    assert {f"dev-{member}-prepare" for member in MEMBERS} <= whole.depends_on


def test_keys_are_secret_and_never_in_command_lines(preview: bool) -> None:
    recorder = cluster(preview)
    for registration in recorder.registrations:
        assert "PRIVATE KEY" not in plain_text(registration.inputs), registration.name
    for name, outputs in recorder.outputs.items():
        assert "PRIVATE KEY" not in plain_text(outputs), name
    for command in recorder.of_type("command:remote:Command"):
        for text in ("create", "update", "delete"):
            assert "PRIVATE KEY" not in json.dumps(command.inputs.get(text, "")), command.name


def test_members_get_only_their_own_keys() -> None:
    recorder = cluster(preview=False)
    for member in MEMBERS:
        assert "stdin" not in recorder.named(f"dev-{member}-bootstrap").inputs
        command = recorder.named(f"dev-{member}-converge")
        assert is_secret(command.inputs["stdin"])
        given = bundle_of(command)
        assert json.dumps(given).count("PRIVATE KEY") == 3
        assert {text for name, text in given["files"].items() if name.endswith(".key")} == {
            private_key(f"dev-pki-{name}") for name in (f"{member}-server", f"{member}-peer", "healthcheck-client")
        }


def test_keys_are_secret_outputs() -> None:
    outputs = cluster(preview=False).outputs["dev"]
    assert is_secret(outputs["kubeadm_files"])
    assert is_secret(outputs["apiserver_etcd_client"])


USERS = [{"name": "reader", "prefix": "/x/", "permission": "read"}]


def test_a_user_gets_a_certificate_and_an_etcd_user(preview: bool) -> None:
    recorder = cluster(preview, authentication=True, users=USERS)
    assert recorder.named("dev-pki-reader-user", "tls:index/certRequest:CertRequest").inputs["subject"] == {
        "commonName": "reader"
    }
    # Converge also checks that the name is free.
    for name in ("dev-health", "dev-b-converge"):
        spec = json.loads(shlex.split(recorder.named(name).inputs["create"])[-1])
        assert spec["users"] == {"reader": {"prefix": "/x/", "permission": "read"}}
    for verb in ("prepare", "bootstrap"):
        assert "reader" not in json.dumps(recorder.named(f"dev-a-{verb}").inputs.get("create", "")), verb
    for registration in recorder.registrations:
        assert "PRIVATE KEY" not in plain_text(registration.inputs), registration.name
    for name, outputs in recorder.outputs.items():
        assert "PRIVATE KEY" not in plain_text(outputs), name


def test_a_users_certificate_is_a_secret_output_after_its_creation() -> None:
    known, unknown = (cluster(preview, authentication=True, users=USERS).outputs["dev"] for preview in (False, True))
    assert is_secret(known["users"])
    assert private_key("dev-pki-reader-user") in json.dumps(known["users"])
    assert unknown.get("users") != known["users"]


@pytest.mark.parametrize(("args", "issued"), [({}, False), ({"prometheus": True}, True)])
def test_prometheus_gets_a_certificate_only_when_asked_for(args: dict[str, object], issued: bool) -> None:
    recorder = cluster(preview=False, **args)
    requests = {each.name: each for each in recorder.of_type("tls:index/certRequest:CertRequest")}
    name = "dev-pki-prometheus-etcd-client"
    assert (name in requests) == issued
    known = recorder.outputs["dev"]
    assert ("prometheus_client" in known) == ("prometheus-etcd-client" in known["certificates"]) == issued
    if issued:
        assert requests[name].inputs["subject"] == {"commonName": "prometheus-etcd-client"}
        assert is_secret(known["prometheus_client"])
        # Machines say when it expires, and do not have it.
        assert "prometheus-etcd-client" in bundle_of(recorder.named("dev-a-converge"))["clients"]
        assert not any("prometheus" in file for file in bundle_of(recorder.named("dev-a-converge"))["files"])


def test_prometheus_gets_no_certificate_for_the_port_without_tls() -> None:
    recorder = cluster(preview=False, prometheus=True, metrics="private")
    assert not [each.name for each in recorder.registrations if "prometheus" in each.name]


def test_every_change_of_users_has_its_own_id() -> None:
    off, on, other = (
        cluster(preview=False, **args)
        for args in (
            {},
            {"authentication": True, "users": USERS},
            {"authentication": True, "users": [{**USERS[0], "permission": "write"}]},
        )
    )
    assert len({json.dumps(each.named("dev-change").inputs) for each in (off, on, other)}) == 3


def test_connection_outputs_are_unknown_until_the_health_check() -> None:
    outputs = cluster(preview=True).outputs["dev"]
    known = cluster(preview=False).outputs["dev"]
    assert known["endpoints"] == ["https://10.0.0.11:2379", "https://10.0.0.12:2379", "https://10.0.0.13:2379"]
    for name in (
        "endpoints",
        "kubeadm",
        "members",
        "etcdctl",
        "ca_certificate",
        "apiserver_etcd_client",
        "kubeadm_files",
    ):
        assert outputs.get(name) != known[name]


def test_every_component_registers_its_outputs() -> None:
    assert set(cluster(preview=False).outputs) >= {"dev", "dev-pki", "dev-a", "dev-b", "dev-c"}


def test_a_bastion_is_the_proxy_of_every_connection() -> None:
    bastion = {"host": "198.51.100.1", "host_key": "ssh-ed25519 BBBB", "private_key": "PRIVATE KEY of bastion"}
    ssh = {"host": "10.0.0.1", "host_key": "ssh-ed25519 AAAA", "private_key": "PRIVATE KEY of ssh", "bastion": bastion}
    recorder = cluster(preview=False, members=machines(ssh=ssh))
    commands = recorder.of_type("command:remote:Command")
    assert commands
    for command in commands:
        assert command.inputs["connection"]["value"]["proxy"]["host"] == "198.51.100.1"
        assert command.inputs["connection"]["value"]["proxy"]["hostKey"] == "ssh-ed25519 BBBB"


def test_a_passphrase_is_a_secret_and_an_agent_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    way = {"host": "10.0.0.1", "host_key": "ssh-ed25519 AAAA"}
    key = {"private_key": "PRIVATE KEY of ssh", "private_key_password": "hunter2"}
    recorder = cluster(preview=True, members=machines(ssh={**way, **key}))
    for command in recorder.of_type("command:remote:Command"):
        assert command.inputs["connection"]["value"]["privateKeyPassword"] == "hunter2"
        assert "hunter2" not in plain_text(command.inputs)
    # Agents differ between operators, so none is an input: otherwise every command would run again.
    monkeypatch.setattr("components.ssh_agent.ready", lambda **_: None)
    recorder = cluster(preview=True, members=machines(ssh=way))
    for command in recorder.of_type("command:remote:Command"):
        connection = command.inputs["connection"]["value"]
        assert set(connection) == {"host", "hostKey", "user", "port", "dialErrorLimit", "perDialTimeout"}


@pytest.mark.parametrize("silent", ["dev-b-prepare", "dev-b-converge", "dev-health"])
def test_a_command_without_an_answer_fails_the_update(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "marked", lambda name, text: LOGIN if name == silent else marked(name, text))
    who = "a" if silent == "dev-health" else "b"
    with pytest.raises(AnswerError, match=f"{who}: the login there ended without running"):
        record(lambda: EtcdCluster("dev", json.loads(json.dumps({"members": machines()}))), preview=False)


def test_only_other_users_than_root_use_sudo_without_password() -> None:
    ssh = {"host": "10.0.0.1", "host_key": "ssh-ed25519 AAAA", "private_key": "PRIVATE KEY of ssh"}
    assert cluster(preview=False).named("dev-a-converge").inputs["create"].startswith("sudo -n ")
    root = cluster(preview=False, members=machines(ssh=ssh))
    assert "sudo" not in root.named("dev-a-converge").inputs["create"]


def test_a_command_outlives_the_time_limit_of_its_verb() -> None:
    """A killed command could not say what it was doing."""
    recorder = cluster(preview=False)
    for verb in ("prepare", "bootstrap", "converge", "health", "retire"):
        name = {"health": "dev-health", "retire": "dev-a-prepare"}.get(verb, f"dev-a-{verb}")
        line = recorder.named(name).inputs["delete" if verb == "retire" else "create"]
        limit = int(re.search(r"timeout --kill-after=10 (\d+) ", line)[1])  # type: ignore[index]
        assert limit > LOCK_SECONDS + DEADLINES[verb], verb


def _leaf(recorder: Recorder) -> Registration:
    return recorder.named("dev-pki-a-server", "tls:index/locallySignedCert:LocallySignedCert")


def test_a_users_own_ca_is_used_instead_of_a_new_one(own_authority: dict[str, str]) -> None:
    recorder = cluster(preview=False, authorities=[{"name": "ours", **own_authority}])
    assert not recorder.of_type("tls:index/selfSignedCert:SelfSignedCert")
    assert is_secret(_leaf(recorder).inputs["caPrivateKeyPem"])
    assert _leaf(recorder).inputs["caCertPem"] == own_authority["certificate"]


@pytest.mark.parametrize("issuer", ["1", "2"])
def test_every_authority_is_trusted_in_the_given_order_and_the_issuer_signs(
    issuer: str, own_authority: dict[str, str]
) -> None:
    old = {"name": "old", "certificate": own_authority["certificate"]}
    recorder = cluster(preview=False, authorities=[{"name": "1"}, old, {"name": "2"}], issuer=issuer)
    made = [certificate(f"dev-pki-{name}-ca") for name in ("1", "2")]
    bundle = f"{made[0]}\n{own_authority['certificate']}{made[1]}\n"
    assert recorder.outputs["dev"]["ca_certificate"] == bundle
    assert bundle_of(recorder.named("dev-a-converge"))["files"]["ca.crt"] == bundle
    assert _leaf(recorder).inputs["caCertPem"] == certificate(f"dev-pki-{issuer}-ca")
    assert _leaf(recorder).inputs["caPrivateKeyPem"]["value"] == private_key(f"dev-pki-{issuer}-ca")


def test_a_new_clusters_peer_ca_issues_only_peer_certificates() -> None:
    recorder = cluster(preview=False, previous=None)
    files = bundle_of(recorder.named("dev-a-converge"))["files"]
    assert files["ca.crt"] == f"{certificate('dev-pki-1-ca')}\n" == recorder.outputs["dev"]["ca_certificate"]
    assert files["peer-ca.crt"] == f"{certificate('dev-pki-peer-1-ca')}\n"
    assert recorder.outputs["dev"]["peer_ca_certificate"] == files["peer-ca.crt"]
    for registration in recorder.of_type("tls:index/locallySignedCert:LocallySignedCert"):
        authority = "peer-1" if registration.name.endswith("-peer") else "1"
        assert registration.inputs["caCertPem"] == certificate(f"dev-pki-{authority}-ca"), registration.name
    assert {"ca-1", "ca-peer-1"} <= set(recorder.outputs["dev"]["certificates"])
    # Later updates keep it; a cluster that began with one CA for all keeps that one.
    again = cluster(preview=False, previous=recorder.outputs["dev"]["applied"])
    assert _names(again) == _names(recorder)
    shared = cluster(preview=False)
    assert _names(cluster(preview=False, previous=shared.outputs["dev"]["applied"])) == _names(shared)
    assert set(_names(recorder)) - set(_names(shared)) == {"dev-pki-peer-1-ca"}


def _names(recorder: Recorder) -> list[str]:
    return sorted(registration.name for registration in recorder.registrations)


def test_the_peer_ca_can_be_a_users_own(own_authority: dict[str, str]) -> None:
    recorder = cluster(preview=False, peer_authorities=[{"name": "ours", **own_authority}])
    leaf = recorder.named("dev-pki-a-peer", "tls:index/locallySignedCert:LocallySignedCert")
    assert leaf.inputs["caCertPem"] == own_authority["certificate"]
    assert is_secret(leaf.inputs["caPrivateKeyPem"])
    files = bundle_of(recorder.named("dev-a-converge"))["files"]
    assert (files["ca.crt"], files["peer-ca.crt"]) == (f"{certificate('dev-pki-1-ca')}\n", own_authority["certificate"])


def test_a_shared_ca_is_in_both_files() -> None:
    files = bundle_of(cluster(preview=False).named("dev-a-converge"))["files"]
    assert files["peer-ca.crt"] == files["ca.crt"]


def test_a_new_peer_ca_changes_only_peer_certificates() -> None:
    both = {"peer_authorities": [{"name": "1"}, {"name": "peer-1"}]}
    before, after = (cluster(preview=False, **both, peer_issuer=name) for name in ("1", "peer-1"))
    assert before.named("dev-a-prepare").inputs == after.named("dev-a-prepare").inputs
    anew = [
        key.name
        for key in before.of_type("tls:index/privateKey:PrivateKey")
        if key.request.replacement_trigger != after.named(key.name, key.type).request.replacement_trigger
    ]
    assert sorted(anew) == [f"dev-pki-{member}-peer" for member in MEMBERS]


def test_a_preview_shows_which_authorities_are_trusted_and_which_one_issues() -> None:
    create = cluster(preview=True, authorities=[{"name": "1"}, {"name": "2"}], issuer="2").named("dev-a-converge")
    text = create.inputs["create"]
    spec = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert (spec["trusted"], spec["issuer"]) == (["1", "2"], "2")


def test_a_changed_ca_does_not_prepare_machines_again() -> None:
    before, after = (
        cluster(preview=False, authorities=[{"name": "1"}, {"name": "2"}], issuer=issuer) for issuer in ("1", "2")
    )
    assert before.named("dev-a-prepare").inputs == after.named("dev-a-prepare").inputs
    assert before.named("dev-a-converge").inputs != after.named("dev-a-converge").inputs


def test_every_change_has_an_id_that_all_members_get() -> None:
    before, after = (cluster(preview=False, flags=flags) for flags in ({}, {"max-txn-ops": "256"}))
    assert before.named("dev-change").inputs != after.named("dev-change").inputs
    assert before.named("dev-change").inputs == cluster(preview=False).named("dev-change").inputs
    assert list(after.named("dev-change").request.replaceOnChanges) == ["input"], "a replacement has another ID"
    for member in MEMBERS:
        converge = after.named(f"dev-{member}-converge")
        assert bundle_of(converge)["change"] == "dev-change-id"


def test_every_membership_change_has_an_id_that_all_machines_get() -> None:
    before, after = (cluster(preview=False, members=machines(count)) for count in (3, 5))
    assert before.named("dev-machines").inputs != after.named("dev-machines").inputs
    filtered = [{**machine, "firewall": {"2379": ["10.0.0.0/24"]}} for machine in machines(3)]
    assert before.named("dev-machines").inputs != cluster(preview=False, members=filtered).named("dev-machines").inputs
    same = cluster(preview=False, flags={"max-txn-ops": "256"})
    assert before.named("dev-machines").inputs == same.named("dev-machines").inputs
    assert list(after.named("dev-machines").request.replaceOnChanges) == ["input"], "a replacement has another ID"
    for member in MEMBERS:
        prepare = after.named(f"dev-{member}-prepare")
        assert prepare.inputs["stdin"]["value"].endswith("dev-machines-id")
        assert all(str(machine["address"]) in prepare.inputs["create"] for machine in machines(5)), "it answers them"


def test_a_newly_prepared_machines_member_is_converged_again() -> None:
    recorder = cluster(preview=False)
    for member in MEMBERS:
        converge = recorder.named(f"dev-{member}-converge")
        assert bundle_of(converge)["prepared"] == f"dev-{member}-prepare said"


def test_an_existing_ca_keeps_its_lifetime() -> None:
    made = cluster(preview=False).named("dev-pki-1-ca", "tls:index/selfSignedCert:SelfSignedCert")
    assert list(made.request.ignoreChanges) == ["validityPeriodHours"]


def test_a_ca_that_expires_before_its_certificates_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_, **__: said.append(text))
    for years, warned in ((1, []), (100, ["The CA 1 expires at 2099-11-21T00:00:00Z, before the certificates that"])):
        said.clear()
        cluster(preview=False, certificates={"validity_hours": years * 8760, "ca_validity_hours": 200 * 8760})
        about = [text for text in said if text.startswith("The CA")]
        assert [text.partition(" it issues")[0] for text in about] == warned
        assert all('docs/operations.md, "Replace the CA"' in text for text in about)


def test_a_renewed_certificate_that_clients_must_replace_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    applied = cluster(preview=False).outputs["dev"]["applied"]
    issued = {"expires": "2099-11-21T00:00:00Z", "issuer": "1"}
    assert applied["clients"] == {"apiserver-etcd-client": [issued]}

    said: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_, **__: said.append(text))
    cluster(preview=False, previous=applied, flags={"max-txn-ops": "128"})
    assert said == []
    earlier = {"expires": "2098-11-21T00:00:00Z", "issuer": "1"}
    renewed = cluster(preview=False, previous={**applied, "clients": {"apiserver-etcd-client": [earlier]}})
    assert renewed.outputs["dev"]["applied"]["clients"] == {"apiserver-etcd-client": [issued, earlier]}
    for member in MEMBERS:
        told = bundle_of(renewed.named(f"dev-{member}-converge"))["clients"]
        assert told == {"apiserver-etcd-client": [issued, earlier]}
    assert len(said) == 1
    assert "An API server that still has the earlier one gets no new connection after 2098-11-21T00:00:00Z" in said[0]
    said.clear()
    cluster(preview=False, previous={**applied, "clients": {"apiserver-etcd-client": [issued, earlier]}})
    assert said == [], "there is still time"
    soon = {**earlier, "expires": f"{datetime.now(UTC) + timedelta(10):%Y-%m-%dT%H:%M:%SZ}"}
    cluster(preview=False, previous={**applied, "clients": {"apiserver-etcd-client": [issued, soon]}})
    assert len(said) == 1
    assert soon["expires"] in said[0]


def test_bad_arguments_are_refused_before_anything_is_registered() -> None:
    with pytest.raises(PlanError, match="odd"):
        cluster(preview=True, members=machines(2))


def test_derived_timers_need_what_an_update_has_measured() -> None:
    with pytest.raises(PlanError, match=r"previous: given nothing.* Pass what previous_update\(\) reads"):
        cluster(preview=True, heartbeat_interval_ms="auto")
    applied = cluster(preview=False, heartbeat_interval_ms="auto", previous=None).outputs["dev"]["applied"]
    assert applied["measured"] == {}, "these machines answer nothing, as those of older programs"
    ends = {member: {other: 250.0 for other in MEMBERS if other != member} for member in MEMBERS}
    measured = {member: {"round_trips_ms": links, "round_trips_ms_at": 1} for member, links in ends.items()}
    timers = []
    for _ in range(3):
        known = {**applied, "measured": measured}
        after = cluster(preview=False, heartbeat_interval_ms="auto", previous=known).outputs["dev"]["applied"]
        timers.append((after["flags"]["--heartbeat-interval"], after["flags"]["--election-timeout"]))
        applied = after
    assert timers == [("200", "3800"), ("380", "3800"), ("380", "3800")], "in two updates, then it stays"


def test_new_data_in_the_programs_directories_is_refused() -> None:
    there = machines(data_directory="/opt/etcd/data")
    with pytest.raises(PlanError, match=r"members\[0\].data_directory: given '/opt/etcd/data'.* pass `previous`"):
        cluster(preview=True, members=there)
    applied = cluster(preview=False).outputs["dev"]["applied"]
    with pytest.raises(PlanError, match=r"members\[0\].data_directory.* on a separate disk\.\n"):
        cluster(preview=True, members=there, previous=applied)
    applied = {**applied, "data_directories": dict.fromkeys(MEMBERS, "/opt/etcd/data")}
    assert cluster(preview=True, members=there, previous=applied).named("dev-a-prepare")


def test_a_new_machine_in_a_slot_is_prepared_and_converged() -> None:
    before, after = (cluster(preview=False, members=machines(identity=identity)) for identity in ("i-1", "i-2"))
    for verb in ("prepare", "converge"):
        name = f"dev-a-{verb}"
        assert before.named(name).inputs["stdin"] != after.named(name).inputs["stdin"]
        assert before.named(name).inputs["create"] == after.named(name).inputs["create"]


def test_the_applied_state_is_an_output_without_secrets() -> None:
    applied = cluster(preview=False).outputs["dev"]["applied"]
    assert applied["order"] == list(MEMBERS)
    assert applied["serial"] == 1
    assert applied["database_bytes"] > 0
    again = cluster(preview=False, previous=applied).outputs["dev"]["applied"]
    assert again == applied
    changed = cluster(preview=False, previous=applied, flags={"max-txn-ops": "256"}).outputs["dev"]["applied"]
    assert changed["serial"] == 2


def test_the_last_health_check_may_be_that_of_a_program_without_client_certificates() -> None:
    """An update with `--target` may skip the check, and so has its inputs of then."""
    asked, report = json.dumps({"changes": {"applied": {"serial": 1}}}), {"members": [{"db_size_bytes": "9"}]}
    assert cluster_module._applied(asked, report, {}, {"etcd-1": {}}, 720) == {
        **{"serial": 1, "clients": {}, "database_bytes": 9, "measured": {}},
        "early_renewal_hours": 720,
    }


def test_a_refused_change_declares_no_resources(preview: bool) -> None:
    applied = cluster(preview=False).outputs["dev"]["applied"]
    seen = []

    def program() -> None:
        with pytest.raises(ChangeRefusedError) as caught:
            EtcdCluster("dev", {"members": machines(), "previous": applied, "authorities": [{"name": "2"}]})  # type: ignore[typeddict-item]
        seen.append(str(caught.value))

    assert record(program, preview).registrations == []
    assert "1. authorities: 1, 2\n" in seen[0]


def test_a_joining_member_is_converged_first_if_another_leaves(preview: bool) -> None:
    applied = cluster(preview=False).outputs["dev"]["applied"]
    a, b, _, d = machines(4)
    recorder = cluster(preview, previous=applied, members=[a, b, d])
    before = {
        name: {other for other in recorder.named(f"dev-{name}-converge").depends_on if other.endswith("-converge")}
        for name in "abd"
    }
    assert before == {"d": set(), "a": {"dev-d-converge"}, "b": {"dev-a-converge"}}


def test_additional_names_are_in_the_right_certificates() -> None:
    members = machines()
    members[1]["extra_names"] = ["b.example.com", "10.9.0.2"]
    recorder = cluster(False, members=members, extra_names=["etcd.example.com", "10.9.9.9"])
    for name, address, names, addresses in (
        ("a", "10.0.0.11", [], []),
        ("b", "10.0.0.12", ["b.example.com"], ["10.9.0.2"]),
    ):
        server, peer = (
            recorder.named(f"dev-pki-{name}-{kind}", "tls:index/certRequest:CertRequest").inputs
            for kind in ("server", "peer")
        )
        assert server["dnsNames"] == [name, "localhost", *names, "etcd.example.com"]
        assert server["ipAddresses"] == [address, "127.0.0.1", *addresses, "10.9.9.9"]
        assert (peer["dnsNames"], peer["ipAddresses"]) == ([name, *names], [address, *addresses])


def test_invalid_certificate_names_are_refused_before_any_registration() -> None:
    with pytest.raises(PlanError, match=r"members\[0\]\.extra_names\[0\]: given 'b'"):
        record(lambda: EtcdCluster("dev", {"members": machines(extra_names=["b"])}), preview=True)  # type: ignore[typeddict-item]


def test_mirror_headers_come_on_stdin_and_the_proxy_in_the_specification() -> None:
    token = "Bearer of-nobody-else"
    recorder = cluster(False, release_proxy="http://proxy.example.com:3128", release_headers={"Authorization": token})
    for verb in ("prepare", "converge"):
        inputs = recorder.named(f"dev-a-{verb}").inputs
        assert '"proxy": "http://proxy.example.com:3128"' in inputs["create"]
        assert is_secret(inputs["stdin"])
    assert (
        recorder.named("dev-a-prepare")
        .inputs["stdin"]["value"]
        .endswith('\n{"headers": {"Authorization": "Bearer of-nobody-else"}}')
    )
    assert bundle_of(recorder.named("dev-a-converge"))["headers"] == {"Authorization": token}
    for registration in recorder.registrations:
        assert token not in plain_text(registration.inputs), registration.name


def test_credentials_for_the_registry_come_on_stdin_of_prepare_alone() -> None:
    credentials = "robot$etcd:of-nobody-else"
    image = f"registry.example.com/etcd@sha256:{'a' * 64}"
    recorder = cluster(False, service_manager="kubelet", etcd_image=image, etcd_image_credentials=credentials)
    stdin = recorder.named("dev-a-prepare").inputs["stdin"]
    assert is_secret(stdin)
    assert stdin["value"].endswith(f'\n{{"image_credentials": "{credentials}"}}')
    assert credentials not in json.dumps(bundle_of(recorder.named("dev-a-converge")))
    for registration in recorder.registrations:
        assert "of-nobody-else" not in plain_text(registration.inputs), registration.name


def test_an_invalid_header_is_refused_without_its_value() -> None:
    with pytest.raises(PlanError, match=r"release_headers\.Authorization: given a value \(not shown\)") as caught:
        record(
            lambda: EtcdCluster("dev", {"members": machines(), "release_headers": {"Authorization": "secret\n"}}),  # type: ignore[typeddict-item]
            preview=True,
        )
    assert "secret" not in str(caught.value)


def test_warnings_of_prepare_are_shown_by_pulumi(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_, **__: logged.append(text))
    said = "warning: no time service runs on this machine\nprepared at 2026-11-29T03:00:00Z"
    record(lambda: EtcdCluster("dev", {"members": machines(1)}), False, said={"dev-a-prepare": said})  # type: ignore[typeddict-item]
    assert "a, when it was prepared: no time service runs on this machine" in logged
    assert not [text for text in logged if "unpacked" in text]


def test_prepare_checks_the_files_that_flags_name() -> None:
    flags = {"client-crl-file": "/etc/ssl/crl.pem", "auth-token": "jwt,pub-key=/etc/jwt.pub,sign-method=ES256"}
    prepare = cluster(False, flags=flags).named("dev-a-prepare").inputs["create"]
    assert '"reads": [\n    "/etc/jwt.pub",\n    "/etc/ssl/crl.pem"\n  ]' in prepare
    assert '"reads"' not in cluster(False).named("dev-a-prepare").inputs["create"]
