"""`external-etcd review` of previews that are written by hand: what it shows, hides, and how it ends."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from components.review import cli
from components.review.preview import PreviewError, read
from tests.support.snapshot import DIRECTORY
from tests.support.stacks import REPO

CANARY = "c4n4ry"
STACK = "urn:pulumi:prod::external-etcd"
CLUSTER = f"{STACK}::external-etcd:index:EtcdCluster::test"
VOLUME = "hcloud:index/volume:Volume"
RESTART = " 1. etcd-1 restarts: --max-txn-ops [2 of 3 voters running, tolerates no further failure]"
HEALTH = " 2. check the health of all members [3 voters, tolerates 1 failure]"
SLOW = (
    "    Slow disks when last measured: etcd-2 (p99 44.2 ms, average 31.0 ms). etcd recommends a p99 below 10 ms and "
    "requires an average below 20 ms. Acknowledged: yes."
)
PREPARE = (
    " 1. prepare etcd-1, etcd-2, etcd-4: no member stops; a slow disk is accepted for etcd-4 [3 voters, tolerates 1 "
    "failure]"
)
REFUSAL = """This change of the cluster test is refused; nothing was touched:
  version: given '3.7.3'. One minor at a time. Go through the minors.
Make these updates instead, each with its own pulumi up:
  1. version: 3.6.16
  2. version: 3.7.3
external-etcd:override is 'allow-000000000000', which was for another change.
To proceed anyway, set external-etcd:override to allow-2dd40fb7c737; it is valid for this change only."""


def said(text: str, severity: str = "info", urn: str = CLUSTER) -> dict[str, Any]:
    """A diagnostic as the engine writes it."""
    head = "" if severity == "info" else f"{severity}: "
    return {"urn": urn, "message": f"{head}{text}\n", "severity": severity}


def changed(op: str, type_: str, name: str) -> dict[str, Any]:
    return {"op": op, "urn": f"{STACK}::external-etcd:index:EtcdCluster${type_}::{name}", "newState": {}}


def preview(*messages: dict[str, Any], steps: tuple[dict[str, Any], ...] = ()) -> str:
    config = {"external-etcd:sshPrivateKey": CANARY}
    return json.dumps({"config": config, "steps": list(steps), "diagnostics": list(messages), "changeSummary": {}})


def run(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """Exit status and output for a preview on standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    status = cli.main(["review", "-", *arguments])
    return status, capsys.readouterr().out


def spoiled(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The value with a canary in one of its strings or names, once for each: where it is, and the whole."""
    if isinstance(value, str):
        yield path, f"{value.rstrip()} {CANARY}"
        yield path, f"{CANARY}: {value}"
    elif isinstance(value, list):
        for index, each in enumerate(value):
            for at, other in spoiled(each, f"{path}[{index}]"):
                yield at, [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, dict):
        yield path, {**value, f"a {CANARY}": f"x {CANARY}"}
        for key, each in value.items():
            for at, other in spoiled(each, f"{path}.{key}"):
                yield at, {**value, key: other}


def test_no_other_text_of_a_preview_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = preview(
        said(PREPARE),
        said(RESTART),
        said(HEALTH),
        said(SLOW),
        said("One member tolerates no failures; three tolerate one.", "warning"),
        said("https://user:password@mirror: something", "warning"),
        said("the plugin failed", "error", urn=""),
        said(
            "The configuration of stack prod is refused (docs/reference.md explains every key):\n  a: given 'b'.",
            "error",
        ),
        steps=(
            specified("test-etcd-1-converge", {"backup": {}}, {"backup": {"s3": "x"}}, "create", "connection"),
            changed("delete", VOLUME, "v"),
        ),
    )
    cases = list(spoiled(json.loads(whole)))
    assert len(cases) > 40
    for path, case in cases:
        assert CANARY in json.dumps(case)
        for form in ("markdown", "json"):
            _, out = run(json.dumps(case), monkeypatch, capsys, "--format", form, "--svg", str(tmp_path / "steps.svg"))
            assert CANARY not in out + (tmp_path / "steps.svg").read_text(), path
            assert "external-etcd review: prod" in out or form == "json" or ".urn" in path


def test_a_refusal_is_shown_without_its_override(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = run(preview(said(REFUSAL, "error", urn="")), monkeypatch, capsys, "--stack", "prod")
    assert status == 0
    assert out.startswith("<!-- external-etcd review: prod -->\n")
    # In a program of another language, the engine names the component first.
    other = said(f"external-etcd:index:AwsEtcdCluster resource 'etcd' has a problem: {REFUSAL}", "error", urn="")
    assert run(preview(other), monkeypatch, capsys, "--stack", "prod") == (status, out)
    assert "One minor at a time" in out
    assert "1. version: 3.6.16\n2. version: 3.7.3\n" in out
    assert "allow-" not in out
    assert run(preview(said(REFUSAL, "error")), monkeypatch, capsys, "--fail-on", "replace,refused")[0] == 3


def test_an_overridden_refusal_comes_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said_before = said("Overridden once, with allow-2dd40fb7c737:", "warning")
    problem = said("  version: given '3.7.3'. One minor at a time.", "warning")
    _, out = run(preview(said_before, problem, said(RESTART)), monkeypatch, capsys)
    assert "**A refusal is overridden.**" in out
    assert out.index("version: given '3.7.3'") < out.index("| What changes |")


def test_a_failed_preview_fails_whatever_the_conditions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = run(preview(said(RESTART), said(f"boom {CANARY}", "error", urn="")), monkeypatch, capsys)
    assert status == 1
    assert "the preview failed" in out
    assert "1 error in the log" in out
    assert "mermaid" not in out, "the announced steps are not those of this change"


def test_a_step_of_an_unknown_form_counts_as_the_worst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = preview(said(f" 1. {CANARY} does something new [3 voters, tolerates 1 failure]"))
    for condition in ("restart", "irreversible"):
        status, out = run(text, monkeypatch, capsys, "--fail-on", condition)
        assert status == 3
        assert "a step in a form that this program does not know" in out
        assert "not all steps are known" in out


def test_a_change_that_was_compared_with_nothing_counts_as_the_worst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = (
        "The output `applied` of the last update is from another version of this program and cannot be read. This "
        "change is compared with nothing, and only the machines can refuse it. In this update, change nothing but the "
        "program."
    )
    steps = (changed("update", "command:remote:Command", "test-etcd-1-converge"),)
    status, out = run(preview(said(warning, "warning"), steps=steps), monkeypatch, capsys, "--fail-on", "restart")
    assert status == 3
    assert "| Restarts | not known |" in out
    assert warning in out


def test_a_preview_that_did_not_come_to_its_end_is_not_called_no_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.loads(preview(steps=(changed("update", "command:remote:Command", "test-etcd-1-converge"),)))
    assert run(json.dumps(whole), monkeypatch, capsys)[0] == 0
    del whole["changeSummary"]
    for steps in (whole["steps"], list[Any]()):
        status, out = run(json.dumps({**whole, "steps": steps}), monkeypatch, capsys)
        assert status == 1
        assert "the preview failed" in out
        assert "It did not come to its end, and names no error" in out


def test_a_preview_that_ends_with_an_error_which_it_does_not_name_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a violated policy of Pulumi, which is not in the JSON. A refusal is."""
    program = tmp_path / "pulumi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for text, status, said_so in (
        (preview(said(RESTART)), 1, "names no error"),
        (preview(said(REFUSAL, "error")), 0, "this change is refused"),
    ):
        (tmp_path / "preview.json").write_text(text)
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/preview.json\nexit 255\n")
        program.chmod(0o755)
        assert cli.main(["review"]) == status
        assert said_so in capsys.readouterr().out


def test_an_overridden_refusal_counts_as_something_that_cannot_be_undone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said_before = said("Overridden once, with allow-2dd40fb7c737:", "warning")
    problem = said("  version: given '3.7.3'. One minor at a time.", "warning")
    status, out = run(preview(said_before, problem, said(RESTART)), monkeypatch, capsys, "--fail-on", "irreversible")
    assert status == 3
    assert "| Cannot be undone | A change that the guard refuses is made all the same |" in out


def test_a_control_plane_that_is_given_up_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = (
        " 1. the control plane control-3 is given up: its node and its machine must be gone for good",
        " 2. inspect the control planes control-1, control-2: nothing changes",
        " 3. control-3 is removed",
    )
    steps = [said(f"{text} [5 voters, tolerates 2 failures]") for text in texts]
    status, out = run(preview(*steps), monkeypatch, capsys, "--fail-on", "irreversible")
    assert status == 3
    assert "| Cannot be undone | A control plane is given up, and its etcd leaves |" in out


def test_a_cluster_that_is_removed_stops_for_good(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The guard announces no steps for a cluster that the program no longer has."""
    text = preview(steps=({"op": "delete", "urn": CLUSTER, "oldState": {}},))
    for condition in ("restart", "irreversible"):
        status, out = run(text, monkeypatch, capsys, "--fail-on", condition)
        assert status == 3
        assert "all members stop at the same time" in out
        assert "The cluster `test` is removed" in out
        assert "| Cannot be undone | nothing |" not in out


def test_without_steps_members_restart_only_if_the_last_update_has_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = (changed("update", "command:remote:Command", "test-etcd-1-converge"),)
    assert "| Restarts | nothing, if the last update succeeded |" in run(preview(steps=steps), monkeypatch, capsys)[1]
    assert "| Restarts | nothing |" in run(preview(said(HEALTH), steps=steps), monkeypatch, capsys)[1]


def test_nothing_is_soothing_beside_a_step_of_an_unknown_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = said(" 2. something new [3 voters, tolerates 1 failure]")
    _, out = run(preview(said(RESTART), unknown, steps=(changed("delete", VOLUME, "v"),)), monkeypatch, capsys)
    assert "| Restarts | `etcd-1`; not all is known |" in out
    for row in ("API servers and other clients", "Cannot be undone"):
        assert re.search(rf"^\| {row} \| .+<br>not known \|$", out, re.MULTILINE), row
    _, out = run(preview(unknown), monkeypatch, capsys)
    assert "| API servers and other clients | not known |" in out


@pytest.mark.parametrize(("name", "shown"), [("the old bucket", "?"), ("x" * 201, "?"), ("a::b", "a::b")])
def test_a_resource_without_a_plain_name_changes_all_the_same(
    name: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = preview(steps=(changed("delete", "aws:s3/bucket:Bucket", name),))
    status, out = run(whole, monkeypatch, capsys, "--fail-on=replace")
    assert status == 3
    assert "nothing changes" not in out
    assert f"delete `{shown}` (`aws:s3/bucket:Bucket`)" in out
    assert name == shown or name not in out


def test_the_type_of_a_resource_is_no_markdown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = run(preview(steps=(changed("create", "www.example.com:@team:X", "x"),)), monkeypatch, capsys)
    assert "- create `x` (`www.example.com:@team:X`)" in out


def test_errors_beside_a_refusal_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = preview(said(REFUSAL, "error"), said(f"boom {CANARY}", "error", urn=""))
    _, out = run(text, monkeypatch, capsys)
    assert "There are other errors, too" in out
    assert CANARY not in out


@pytest.mark.parametrize("op", ["replace", "delete", "create-replacement", "delete-replaced"])
@pytest.mark.parametrize(
    ("type_", "policies"),
    [
        (VOLUME, ["irreversible", "replace"]),
        ("aws:ec2/instance:Instance", ["irreversible", "replace"]),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", ["replace"]),
        ("command:remote:Command", []),
    ],
)
def test_a_deleted_machine_or_disk_of_a_cloud_cannot_be_undone(
    op: str, type_: str, policies: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = preview(said(HEALTH), steps=(changed(op, type_, "test-etcd-1-data"),))
    _, out = run(text, monkeypatch, capsys, "--format", "json")
    assert json.loads(out)["policies"] == policies


def test_only_the_announced_replacement_of_a_machine_needs_no_further_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = said(" 1. replace the machine of etcd-2 once all others are healthy [3 voters, tolerates 1 failure]")
    servers = tuple(changed("replace", "hcloud:index/server:Server", f"test-etcd-{n}") for n in (2, 3))
    _, out = run(preview(step, steps=servers), monkeypatch, capsys)
    (what,) = re.findall(r"^\| What changes \| (.+) \|$", out, re.MULTILINE)
    assert what.split("<br>") == [
        "`etcd-2` gets a new machine",
        "Machines, disks or addresses of a cloud are deleted or replaced: Server `test-etcd-3` (replace)",
    ]
    assert "1 machine is replaced" in out


def test_a_machine_of_a_member_that_no_step_announces_is_not_called_harmless(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one that a transformation or a new release of a provider replaces."""
    made_in = "external-etcd:index:HetznerMachines$hcloud:index"
    servers = tuple(changed("replace", f"{made_in}/server:Server", f"test-etcd-{n}") for n in (2, 3))
    volume = changed("delete", f"{made_in}/volume:Volume", "test-etcd-3")
    step = said(" 1. replace the machine of etcd-2 once all others are healthy [3 voters, tolerates 1 failure]")
    gone = said(" 2. etcd-3 is removed [2 voters, tolerates no failure]")
    for messages, steps, known in (
        ((), servers[:1], False),
        ((step,), servers[:1], True),
        ((step,), servers, False),
        ((), (volume,), False),
        ((step, gone), (*servers, volume), True),
        ((), (*servers, changed("delete", "external-etcd:index:EtcdCluster", "test")), True),
        ((), (changed("replace", "hcloud:index/server:Server", "web"),), True),
    ):
        status, out = run(preview(*messages, steps=steps), monkeypatch, capsys, "--fail-on=restart")
        assert ("not all steps are known" not in out) is known
        if not known:
            assert status == 3
            assert "| Restarts | not known |" in out
            assert re.search(r"^\| How long clients may notice it \| (.*<br>)?not known \|$", out, re.MULTILINE)


def test_the_key_of_a_dropped_ca_cannot_be_undone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = tuple(
        changed("delete", type_, "test-pki-1-ca")
        for type_ in ("tls:index/selfSignedCert:SelfSignedCert", "tls:index/privateKey:PrivateKey")
    )
    status, out = run(preview(said(RESTART), steps=steps), monkeypatch, capsys, "--fail-on", "irreversible")
    assert status == 3
    assert "| Cannot be undone | The CA `test-pki-1-ca` is deleted with its key |" in out


@pytest.mark.parametrize(
    "step",
    [
        "etcd-1 restarts: trusts CAs 1, 2 for peers",
        "CA 2 issues the certificates of peers: members reload them without a restart",
    ],
)
def test_a_ca_of_peers_is_no_task_for_api_servers(
    step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = run(preview(said(f" 1. {step} [3 voters, tolerates 1 failure]")), monkeypatch, capsys)
    assert "API servers have nothing to do: only members use these certificates." in out
    assert "API servers need" not in out


@pytest.mark.parametrize(
    ("texts", "policies"),
    [
        (["etcd-4 joins as a learner", "etcd-4 is promoted to voter"], []),
        (["etcd-2 is removed", "retire the machine of etcd-2"], []),
        (["CA 2 issues all certificates: members reload them without a restart"], []),
        (["the API server of control-1 restarts with the members etcd-1, etcd-2, while all others serve"], ["restart"]),
        (["etcd-1 restarts with its data"], ["restart"]),
        (["replace the machine of etcd-1 once all others are healthy"], ["irreversible"]),
        (["all members stop: EVERYTHING WRITTEN AFTER THE SNAPSHOT IS LOST"], ["restart", "irreversible"]),
    ],
)
def test_a_condition_holds_for_what_a_step_does(
    texts: list[str], policies: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [said(f"{number:2}. {text} [3 voters, tolerates 1 failure]") for number, text in enumerate(texts, 1)]
    _, out = run(preview(*steps), monkeypatch, capsys, "--format", "json")
    assert json.loads(out)["policies"] == policies


def test_a_voter_that_does_not_run_counts_as_a_restart_whatever_the_step_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = preview(said(" 1. prepare etcd-1: no member stops [2 of 3 voters running, tolerates no further failure]"))
    assert run(text, monkeypatch, capsys, "--fail-on", "restart")[0] == 3


def test_of_a_refused_change_no_other_condition_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = preview(said(REFUSAL, "error", urn=""))
    assert run(text, monkeypatch, capsys, "--fail-on", "restart,irreversible,replace")[0] == 0
    assert run(text, monkeypatch, capsys, "--fail-on", "refused")[0] == 3


def test_a_refusal_without_an_override_names_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without = REFUSAL.rpartition("\n")[0]
    assert "The override is in the log" in run(preview(said(REFUSAL, "error")), monkeypatch, capsys)[1]
    assert "The override" not in run(preview(said(without, "error")), monkeypatch, capsys)[1]


def specified(name: str, before: dict[str, Any], after: dict[str, Any], *reasons: str) -> dict[str, Any]:
    """An update of a command that tells a machine its settings."""
    states = {
        key: {"inputs": {"create": f"sh -c 'x {{ y; }}' --answer '{json.dumps({'format': 1, **spec}, indent=2)}'"}}
        for key, spec in (("oldState", before), ("newState", after))
    }
    return {**changed("update", "command:remote:Command", name), **states, "diffReasons": list(reasons)}


QUIET: list[tuple[dict[str, Any], str | None]] = [
    (specified("test-etcd-1-converge", {}, {"backup": {"s3": CANARY}}), "Snapshots that are kept elsewhere (`backup`)"),
    (specified("test-etcd-1-prepare", {"backup": CANARY}, {}), "Snapshots that are kept elsewhere (`backup`)"),
    (specified("test-etcd-1-prepare", {"firewall": CANARY}, {}), "Who reaches etcd on the machines (`firewall`)"),
    (
        specified("test-etcd-1-converge", {"maintenance": {}}, {}),
        "What machines do about the size of the database (`maintenance`)",
    ),
    (
        specified("test-etcd-1-converge", {}, {"textfile": True}),
        "Metrics that the machines write for Prometheus (`prometheus`)",
    ),
    (specified("test-etcd-1-converge", {}, {}, "connection"), "How Pulumi logs in on the machines"),
    (specified("test-etcd-1-converge", {}, {"members": {"a": CANARY}, "firewall": {"2379": []}}), None),
    (specified("test-etcd-1-converge", {}, {"program": CANARY}, "create", CANARY), None),
    (specified("test-health", {}, {"backup": {"s3": CANARY}}), None),
]


@pytest.mark.parametrize(("step", "what"), QUIET)
def test_a_setting_without_a_step_is_named_and_no_value_of_it(
    step: dict[str, Any], what: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = run(preview(steps=(step,)), monkeypatch, capsys)
    assert f"| What changes | {what or 'update `test-'}" in out
    assert CANARY not in out


def test_commands_in_another_form_say_nothing_about_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for states in (
        {"newState": None},
        {"oldState": {"inputs": "x"}},
        {"oldState": {"inputs": {"create": '{\n  "x\n}'}}},
    ):
        step = {**specified("test-etcd-1-converge", {}, {}), **states}
        assert "| What changes | update " in run(preview(steps=(step,)), monkeypatch, capsys)[1]


def test_slow_disks_and_links_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = run(preview(said(PREPARE), said(RESTART), said(SLOW)), monkeypatch, capsys)
    line = "a slow disk is accepted for `etcd-4`; `etcd-2` (p99 44.2 ms, average 31.0 ms): acknowledged"
    assert f"| Slow disks and links | {line} |\n" in out
    assert out.count("44.2 ms") == 1
    assert "Slow disks" not in run(preview(said(RESTART)), monkeypatch, capsys)[1]
    other = CLUSTER.replace("::test", "::other")
    several = preview(said(PREPARE), said(SLOW), said(RESTART, urn=other), said(SLOW, urn=other))
    _, out = run(several, monkeypatch, capsys, "--format", "json")
    assert [each.partition(": ")[0] for each in json.loads(out)["slow"]] == ["test", "test", "other"]


def test_the_picture_takes_the_place_of_mermaid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "steps.svg"
    text = preview(said(RESTART), said(HEALTH))
    _, out = run(text, monkeypatch, capsys, "--svg", str(picture))
    assert f"![2 steps, listed below]({picture})" in out
    assert "mermaid" not in out
    _, out = run(text, monkeypatch, capsys, "--svg", str(picture), "--picture", "https://example.com/steps.svg")
    assert "(https://example.com/steps.svg)" in out
    drawn = picture.read_text()
    assert "1 · etcd-1 restarts: --max-txn-ops" in drawn
    assert drawn.count("<circle") == 6
    assert drawn.count('fill="#fff" stroke="#333"') == 1, "one voter of the first step does not run"
    assert not re.search(r"href|url\(|<script|<style|<!DOCTYPE", drawn)


def test_the_picture_of_a_change_without_steps_is_its_headline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "steps.svg"
    _, out = run(preview(said(REFUSAL, "error")), monkeypatch, capsys, "--svg", str(picture))
    assert "steps.svg" not in out
    texts = [each.text for each in ElementTree.parse(picture).iter() if each.text and each.text.strip()]  # noqa: S314
    assert texts == ["etcd cluster test, stack prod: this change is refused"]


def test_a_picture_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(preview(said(RESTART))))
    assert cli.main(["review", "-", "--svg", str(tmp_path / "nowhere" / "steps.svg")]) == 1
    said_so = capsys.readouterr()
    assert "steps.svg cannot be written" in said_so.err
    assert said_so.out == ""


def test_clusters_that_change_together_are_side_by_side_in_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = CLUSTER.replace("::test", "::two")
    picture = tmp_path / "steps.svg"
    run(preview(said(RESTART), said(HEALTH), said(RESTART, urn=other)), monkeypatch, capsys, "--svg", str(picture))
    boxes = re.findall(r'<rect x="(\d+)" y="(\d+)"', picture.read_text())
    assert len(boxes) == 3
    assert boxes[0][1] == boxes[2][1]
    assert boxes[0][0] == boxes[1][0] != boxes[2][0]


def test_steps_of_several_clusters_name_their_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = CLUSTER.replace("::test", "::two")
    _, out = run(preview(said(RESTART), said(HEALTH), said(RESTART, urn=other)), monkeypatch, capsys)
    assert "etcd clusters `test`, `two`, stack `prod`: 2 members restart" in out
    assert "2 members restart, one at a time in each cluster" in out
    assert "| Restarts | `test/etcd-1`<br>`two/etcd-1` |" in out
    assert "3. two: etcd-1 restarts: --max-txn-ops (2 of 3 voters" in out
    assert "  s1 --> s2\n  classDef" in out, "the clusters change at the same time"


def test_a_section_of_the_manual_is_a_link_if_its_address_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = run(preview(said(RESTART)), monkeypatch, capsys, "--manual", "https://example.com/x/")
    assert "[Change a setting](https://example.com/x/docs/operations.md#change-a-setting)" in out


def test_every_section_that_a_comment_names_exists() -> None:
    source = (REPO / "components" / "review" / "consequences.py").read_text()
    named = {("docs/operations.md", title) for title in re.findall(r'_operations\(\s*"([^"]+)"', source)}
    named |= set(re.findall(r'"(docs/\w+\.md)",\s+"([^"]+)"', source))
    named |= {("docs/migration.md", title) for title in ("Who can use it", "join", "switch", "leave", "done")}
    assert len(named) > 15
    for page, title in named:
        assert re.search(rf"^#+ {re.escape(title)}$", (REPO / page).read_text(), re.MULTILINE), (page, title)


def test_the_manual_shows_the_comment_on_a_real_preview() -> None:
    reviewed = (DIRECTORY / "review" / "a-version.md").read_text()
    (shown,) = re.findall(r"````markdown\n(.*?)````", (REPO / "docs" / "review.md").read_text(), re.DOTALL)
    assert shown == reviewed.replace("test2", "production").replace("`test`", "`production`")


@pytest.mark.parametrize("text", ["", "not JSON", "[]", "{}", '{"steps": 3'])
def test_other_text_is_no_preview(text: str) -> None:
    with pytest.raises(PreviewError, match="pulumi preview --json"):
        read(text)


def test_a_wrong_condition_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["review", "-", "--fail-on", "restart,everything"])
    assert ended.value.code == 2
    assert "'everything' is none of refused, restart, irreversible, replace" in capsys.readouterr().err


def test_without_a_file_it_runs_the_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "preview.json").write_text(preview(said(RESTART)))
    program = tmp_path / "pulumi"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/preview.json\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert cli.main(["review", "--stack", "prod", "-C", "there", "--fail-on", "restart"]) == 3
    assert (tmp_path / "asked").read_text().split() == [
        *("preview", "--json", "--non-interactive", "--stack=prod", "--cwd=there"),
    ]
    assert "1 member restarts" in capsys.readouterr().out
    program.write_text("#!/bin/sh\nexit 255\n")
    assert cli.main(["review"]) == 1
    assert "ended with status 255 and printed no preview" in capsys.readouterr().err


def test_it_starts_without_pulumi() -> None:
    code = "import sys; from components.review import cli; print({'pulumi', 'grpc', 'asyncio'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_name_of_the_package_is_there() -> None:
    code = "import components; print([name for name in components.__all__ if not hasattr(components, name)])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
