"""The registrations of a migration: what waits for what in each phase, and where the CA's key is."""

import functools
import json
import shlex
from typing import Any

import pytest

from components import ChangeRefusedError, EtcdCluster
from components.plan import PlanError
from tests.support.authority import OwnAuthority
from tests.support.recording import Recorder, is_secret, plain_text, record

from .test_cluster_registrations import MEMBERS, machines

PLANES = ("p", "q")
AUTHORITY = OwnAuthority("etcd-ca")
READ = {"certificate": AUTHORITY.certificate, "private_key": AUTHORITY.private_key}
SSH = {"host": "192.0.2.2", "host_key": "ssh-ed25519 AAAA", "private_key": "PRIVATE KEY of ssh"}
COMMANDS = "command:remote:Command"


def planes() -> list[dict[str, object]]:
    return [{"name": name, "address": f"10.0.1.{index}", "ssh": SSH} for index, name in enumerate(PLANES, 1)]


@functools.cache
def migration(phase: str, preview: bool = False) -> Recorder:
    """The cluster's registrations in a phase that follows the one before it."""
    args: dict[str, Any] = {"members": machines(), "migration": {"phase": phase, "control_planes": planes()}}
    before = {"switch": "join", "leave": "switch", "done": "leave", "back": "join"}.get(phase)
    args["previous"] = migration(before).outputs["dev"]["applied"] if before else None
    if phase == "done":
        args["migration"] = {"phase": phase}
    said = {"dev-migration-p-authority": json.dumps(READ)}
    if phase == "done":
        said = {"dev-migration-authority": json.dumps(READ)}
    return record(lambda: EtcdCluster("dev", args), preview, said=said)  # type: ignore[arg-type]


def words(recorder: Recorder, name: str) -> list[str]:
    """etcd-node's own arguments in a command line."""
    line = shlex.split(str(recorder.named(name, COMMANDS).inputs["create"]))
    return line[line.index("--answer") + 1 :]


def test_the_control_planes_are_inspected_before_any_member_changes() -> None:
    for phase in ("join", "switch", "leave"):
        recorder = migration(phase)
        after = recorder.named(f"dev-{MEMBERS[0]}-converge").depends_on
        assert {f"dev-migration-{plane}-inspect" for plane in PLANES} <= after
        assert json.loads(words(recorder, "dev-migration-q-inspect")[1])["phase"] == phase


def test_the_members_know_the_stacked_ones_until_these_leave() -> None:
    for phase, there in (("join", True), ("switch", True), ("leave", False)):
        spec = json.loads(words(migration(phase), "dev-a-converge")[1])
        assert list(spec["members"]) == [*MEMBERS, *(PLANES if there else ())]
        assert spec.get("stacked", []) == [*(PLANES if there else ())]


def test_no_member_of_a_migration_bootstraps_a_cluster() -> None:
    for phase in ("join", "switch", "leave", "done"):
        assert migration(phase).named("dev-a-bootstrap").inputs["create"] == "true"


def test_api_servers_change_one_after_another_when_all_members_are_healthy() -> None:
    for phase, verb in (("join", "switch-back"), ("switch", "switch"), ("leave", "switch")):
        recorder = migration(phase)
        first, second = (recorder.named(f"dev-migration-{plane}-api-server") for plane in PLANES)
        assert "dev-health" in first.depends_on
        assert {"dev-health", "dev-migration-p-api-server"} <= second.depends_on
        assert words(recorder, second.name)[0] == verb
        assert is_secret(second.inputs["stdin"]) == (verb == "switch")


def test_etcd_leaves_the_control_planes_when_its_members_have_left_and_kubeadm_is_last() -> None:
    recorder = migration("leave")
    assert "dev-migration-q-api-server" in recorder.named("dev-migration-p-etcd").depends_on
    assert "dev-health" in recorder.named("dev-migration-p-etcd").depends_on
    assert "dev-migration-p-etcd" in recorder.named("dev-migration-q-etcd").depends_on
    assert "dev-migration-q-etcd" in recorder.named("dev-migration-p-configure").depends_on
    for phase in ("join", "switch"):
        assert not [each.name for each in migration(phase).registrations if each.name.endswith(("-etcd", "-configure"))]


def test_no_machine_is_retired_while_the_stacked_members_may_need_it() -> None:
    for phase in ("join", "switch", "leave"):
        recorder = migration(phase)
        for plane in PLANES:
            guard = recorder.named(f"dev-migration-{plane}-joined")
            assert {f"dev-{member}-prepare" for member in MEMBERS} <= guard.depends_on
            assert f'"plane": "{plane}"' in guard.inputs["delete"]
            assert "stand-alone" in guard.inputs["delete"]
            # Whether the members can be reached is checked before the first joins, and never in the way of going back.
            assert words(recorder, guard.name)[0] == "reach"
            assert guard.inputs["update"] == "true"
            assert guard.name in recorder.named("dev-a-converge").depends_on
            # A destroy must not pass it by.
            assert not guard.request.deletedWith


@pytest.mark.parametrize("preview", [True, False], ids=["preview", "update"])
def test_the_key_of_the_ca_is_secret_everywhere(preview: bool) -> None:
    recorder = migration("join", preview)
    for registration in recorder.registrations:
        assert AUTHORITY.private_key.splitlines()[1] not in plain_text(registration.inputs), registration.name
    read = recorder.named("dev-migration-p-authority", COMMANDS)
    assert "stdout" in read.request.additionalSecretOutputs
    assert set(read.request.ignoreChanges) == {"connection", "create", "stdin", "logging"}
    assert list(recorder.named("dev-migration-authority").request.ignoreChanges) == ["input"]
    for outputs in recorder.outputs.values():
        assert AUTHORITY.private_key.splitlines()[1] not in plain_text(outputs)


def test_every_certificate_is_issued_by_the_ca_of_the_stacked_cluster() -> None:
    leaves = migration("join").of_type("tls:index/locallySignedCert:LocallySignedCert")
    assert {leaf.inputs["caCertPem"] for leaf in leaves} == {AUTHORITY.certificate}
    assert not migration("join").of_type("tls:index/selfSignedCert:SelfSignedCert")


def test_in_the_end_only_the_ca_is_left_of_a_migration() -> None:
    recorder = migration("done")
    assert [each.name for each in recorder.registrations if each.parent == "dev-migration"] == [
        "dev-migration-authority"
    ]
    assert recorder.outputs["dev"]["applied"]["migration"] == "done"


def test_on_the_way_back_no_member_is_declared() -> None:
    recorder = migration("back")
    names = {each.name for each in recorder.registrations}
    assert not {name for name in names if name.startswith(("dev-a", "dev-pki", "dev-bootstrap", "dev-whole"))}
    assert "dev-migration-q-api-server" in recorder.named("dev-migration-p-back").depends_on
    assert words(recorder, "dev-migration-p-api-server")[0] == "switch-back"


def test_every_phase_has_an_id_of_its_own() -> None:
    """An interrupted phase may have changed a control plane, and its way back must run there."""
    digests = [migration(phase).named("dev-change").inputs["input"] for phase in ("join", "switch", "leave", "back")]
    assert len(set(digests)) == len(digests)


def test_another_first_control_plane_deletes_nothing_that_guards_the_quorum() -> None:
    """Its deletion asks the stacked members, which still need these."""
    args: dict[str, Any] = {
        "members": machines(),
        "migration": {"phase": "join", "control_planes": planes()[::-1]},
        "previous": migration("join").outputs["dev"]["applied"],
    }
    recorder = record(lambda: EtcdCluster("dev", args), True)  # type: ignore[arg-type]
    there = {each.name for each in migration("join").registrations if each.inputs.get("delete")}
    assert {f"dev-migration-{plane}-joined" for plane in PLANES} <= there
    assert there <= {each.name for each in recorder.registrations}


def test_a_leave_inspects_the_control_planes_in_every_run_until_it_is_complete() -> None:
    def run(last: str) -> tuple[str, list[str]]:
        args: dict[str, Any] = {
            "members": machines(),
            "migration": {"phase": "leave", "control_planes": planes()},
            "previous": migration(last).outputs["dev"]["applied"],
        }
        recorder = record(lambda: EtcdCluster("dev", args), True)  # type: ignore[arg-type]
        assert {"dev-migration-run"} <= recorder.named("dev-migration-p-inspect").depends_on
        found = recorder.named("dev-migration-run")
        assert list(found.request.replaceOnChanges) == ["input"]
        return found.inputs["input"], list(found.request.ignoreChanges)

    (first, kept), (second, _) = run("switch"), run("switch")
    assert first != second
    assert not kept
    assert run("leave")[1] == ["input"]


def test_a_program_that_does_not_pass_the_last_update_is_refused() -> None:
    args: dict[str, Any] = {"members": machines(), "migration": {"phase": "join", "control_planes": planes()}}
    with pytest.raises(PlanError, match="each is compared with the last update"):
        record(lambda: EtcdCluster("dev", args), preview=True)  # type: ignore[arg-type]


def test_a_skipped_phase_is_refused_before_anything_is_registered() -> None:
    args: dict[str, Any] = {"members": machines(), "migration": {"phase": "switch", "control_planes": planes()}}
    with pytest.raises(ChangeRefusedError, match="no phase is complete yet"):
        record(lambda: EtcdCluster("dev", {**args, "previous": None}), preview=True)  # type: ignore[typeddict-item]
