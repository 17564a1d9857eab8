"""`external-etcd status`: clusters in outputs, what they mean at a time, the table, exit status."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components import cli
from components.plan import ClusterPlan, MemberPlan
from components.plan.guard.state import wanted_state
from components.status import facts
from components.status.backend import Listed, Update
from components.status.cli import main
from components.status.clusters import find
from tests.unit.test_review import CANARY, RESTART, preview, said, spoiled

REPO = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = f"{NOW:%Y-%m-%d %H:%M}"


def after(days: float) -> str:
    """The time some days from NOW, as outputs have it."""
    return f"{NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def applied(name: str = "production", **changes: Any) -> dict[str, Any]:
    """The output `applied` of a cluster."""
    plan = ClusterPlan(name, [MemberPlan(f"etcd-{n}", f"10.0.0.{n}") for n in (1, 2, 3)], "")
    state = wanted_state(plan, generations={}, identities={}, certificates={})
    clients = {"apiserver-etcd-client": [{"expires": after(300), "issuer": "1"}]}
    more = {"serial": 1, "clients": clients, "checked": after(-1), "early_renewal_hours": 720}
    return {**state.data(), **more, **changes}


def outputs(**changes: Any) -> dict[str, Any]:
    """The outputs of a stack of this project; None leaves one out."""
    certificates = {"ca-1": after(3000), "etcd-1/server": after(300), "apiserver-etcd-client": after(300)}
    backup = {"taken": after(-0.5), "name": "x.age", "drill": {"proved": {"at": after(-2), "name": "x.age"}}}
    found = {"endpoints": ["https://10.0.0.1:2379"], "certificates": certificates, "backup": backup}
    found |= {"kubeadm_files": "[secret]", "applied": applied(), **changes}
    return {name: value for name, value in found.items() if value is not None}


def cluster(found: dict[str, Any]) -> facts.Cluster:
    """The facts about the only cluster in outputs."""
    (only,) = stack(found).clusters
    return only


def stack(
    found: dict[str, Any], listed: Listed | None = None, last: Update | None = None, within: float = 30
) -> facts.Stack:
    """The facts about a stack whose last update succeeded, if nothing else is given."""
    listed = listed or Listed("prod", NOW, 80)
    last = last or Update("update", "succeeded", NOW)
    return facts.stack(listed, find(found), last, None, now=NOW, within=timedelta(days=within))


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the CLI answers: `stack-ls`, `stack-output` and so on, or `preview`, to its JSON, or None: it fails."""
    program = tmp_path / "pulumi"
    program.write_text(
        "#!/bin/sh\n"
        f'cd {tmp_path}; echo "$@" >> asked\n'
        "case $1 in stack) answer=stack-$2;; *) answer=$1;; esac; for each; do case $each in --stack=*) "
        'own=$answer-$(echo "${each#--stack=}" | tr / _); if test -e "$own"; then answer=$own; fi;; esac; done\n'
        'echo "diagnostic: canary-of-standard-error" >&2; cat "$answer"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def answers(**given: Any) -> None:
        defaults = {"stack_ls": [{"name": "prod", "resourceCount": 80}], "stack_output": outputs()}
        defaults |= {"stack_history": [{"kind": "update", "result": "succeeded", "endTime": after(-1)}]}
        for name, answer in {**defaults, **given}.items():
            path = tmp_path / name.replace("_", "-")
            path.unlink(missing_ok=True)
            if answer is not None:
                path.write_text(answer if isinstance(answer, str) else json.dumps(answer))

    return answers


def test_a_cluster_is_found_by_its_applied_state_wherever_it_is() -> None:
    def places(found: dict[str, Any]) -> list[tuple[str, str]]:
        return [(each.where, each.name) for each in find(found)]

    assert places(outputs()) == [("", "production")]
    assert places({"etcd": outputs(), "url": "https://www.example.com"}) == [("etcd", "production")]
    nested = {"clusters": {"a": outputs(applied=applied("a")), "b": {"anything": applied("b")}}}
    assert places(nested) == [("clusters.a", "a"), ("clusters.b", "b")]
    assert places({"list": [outputs(), {"applied": applied("b")}]}) == [("list[0]", "production"), ("list[1]", "b")]
    # Nothing says whose the certificates beside two of them are.
    two = find(outputs(other=applied("other")))
    assert [(each.where, each.all_certificates) for each in two] == [("applied", False), ("other", False)]
    for nothing in ({}, {"applied": "[secret]"}, {"applied": {"version": "1"}}, {"a": {"cluster": "x"}}):
        assert find(nothing) == []


def test_a_cluster_of_another_programs_version_is_shown_as_not_readable() -> None:
    found = cluster({"applied": applied(format=2)})
    assert (found.name, found.version, found.conditions) == ("production", "", ("unhealthy",))
    assert "another version of this program" in found.notes[0]


def test_numbers_may_be_floats() -> None:
    assert cluster(outputs(applied=applied(format=1.0, serial=3.0, early_renewal_hours=720.0))).version


def test_what_expires_next_may_be_a_certificate_or_a_ca() -> None:
    found = cluster(outputs())
    assert found.expires == facts.Expiry(("apiserver-etcd-client", "etcd-1/server"), after(300), 300)
    assert (found.renews, found.conditions, found.notes) == ((), (), ())
    soon = cluster(outputs(certificates={"ca-1": after(20), "etcd-1/server": after(200)}))
    assert soon.expires == facts.Expiry(("ca-1",), after(20), 20)
    assert soon.renews == (), "a CA is never renewed"
    assert soon.conditions == ("expiring",)
    assert "Replace the CA" in soon.notes[0]
    expired = cluster(outputs(certificates={"etcd-1/server": after(-0.1)})).expires
    assert expired is not None and expired.days == -1


@pytest.mark.parametrize(("hours", "renewed"), [(720, 1), (24, 0), (None, 1), (10**12, 1)])
def test_the_next_update_renews_what_is_in_its_renewal_window(hours: int | None, renewed: int) -> None:
    """An earlier program did not record the window, another may write anything; the default applies."""
    state = applied(early_renewal_hours=hours)
    found = stack(outputs(applied=state, certificates={"a/peer": after(20), "b/peer": after(40)}), within=7)
    assert len(found.clusters[0].renews) == renewed
    assert found.conditions == (("pending",) if renewed else ())


def test_without_certificates_those_of_clients_are_known() -> None:
    found = cluster({"applied": applied()})
    assert found.expires == facts.Expiry(("apiserver-etcd-client",), after(300), 300)
    assert found.notes == ("its outputs have no `certificates`, so only those of clients are known",)


def test_a_renewed_certificate_must_be_given_to_its_owner() -> None:
    issued = [{"expires": after(300), "issuer": "1"}, {"expires": after(9), "issuer": "1"}]
    found = cluster(outputs(applied=applied(clients={"apiserver-etcd-client": issued})))
    (note,) = found.notes
    assert note.startswith("apiserver-etcd-client was renewed.") and after(9) in note
    assert found.conditions == (), "no member can see whether that was done"


@pytest.mark.parametrize(
    ("listed", "last", "says"),
    [
        (Listed("prod", NOW, 80), Update("update", "failed", NOW), f"the last update failed, {MINUTE}"),
        (Listed("prod", NOW, 80), Update("destroy", "failed", NOW), f"the last destroy failed, {MINUTE}"),
        (Listed("prod", NOW, 80, in_progress=True), None, "an update is in progress"),
        (Listed("prod", NOW, 80), Update("update", "in-progress", None), "an update is in progress"),
        (
            Listed("prod", NOW, 80),
            Update("update", "succeeded", NOW - timedelta(minutes=5)),
            f"in progress, interrupted, or its state was edited, {MINUTE}",
        ),
        (Listed("prod", NOW, 80), Update("update", "succeeded", NOW - timedelta(seconds=2)), ""),
        (Listed("prod"), Update("update", "succeeded", NOW), ""),
    ],
)
def test_an_unfinished_update_is_noticed(listed: Listed, last: Update | None, says: str) -> None:
    found = stack(outputs(), listed, last)
    assert found.unfinished == says
    assert found.conditions == (("unhealthy", "pending") if says else ())


def test_a_first_update_that_was_interrupted_has_no_history() -> None:

    def unfinished(resources: int) -> str:
        month = timedelta(days=30)
        return facts.stack(Listed("prod", NOW, resources), [], None, None, now=NOW, within=month).unfinished

    assert unfinished(7).startswith("in progress, interrupted")
    assert unfinished(0) == "", "it was only created"


@pytest.mark.parametrize(
    ("backup", "conditions", "note"),
    [
        (None, (), ""),
        ({}, ("backup",), "no snapshot was stored"),
        ({"taken": after(-1)}, (), ""),
        ({"taken": after(-1), "drill": {"failed": {"at": after(-1)}}}, ("backup",), "a drill of the restore failed"),
    ],
)
def test_a_missing_snapshot_or_a_failed_drill_is_noticed(
    backup: dict[str, Any] | None, conditions: tuple[str, ...], note: str
) -> None:
    found = cluster(outputs(backup=backup))
    assert found.conditions == conditions
    assert any(note in each for each in found.notes) or not note


def test_a_replacement_of_a_ca_and_a_migration_that_are_not_complete_are_named() -> None:
    found = cluster(outputs(applied=applied(trusted={"1": "made", "2": "made"}, issuer="2", migration="join")))
    assert found.notes == (
        "it trusts the CAs 1, 2, and 2 issues: drop a CA that is replaced",
        "the migration is in the phase `join` (docs/migration.md)",
    )


def test_the_table_has_a_line_for_each_cluster(pulumi: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    both = {"clusters": {name: outputs(applied=applied(name)) for name in ("a", "b")}}
    pulumi(
        stack_ls=[{"name": "prod"}, {"name": "website"}, {"name": "new"}, {"name": "broken", "resourceCount": 9}],
        stack_output_prod=both,
        stack_output_website={"url": "https://www.example.com"},
        stack_output_new={},
        stack_output_broken={},
        stack_history_broken=[{"kind": "update", "result": "failed", "endTime": after(-1)}],
    )
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split()[:4] for line in lines[1:4]]
    assert starts == [["prod", "a", "3.6.16", "3"], ["prod", "b", "3.6.16", "3"], ["broken", "–", "–", "–"]]
    assert f"the last update failed, {after(-1)[:16].replace('T', ' ')}" in lines[3]
    assert lines[-1] == "Without a cluster in their outputs: website, new."
    assert {line.index("3.6.16") for line in lines[1:3]} == {lines[0].index("ETCD")}


def test_without_any_cluster_it_says_so(pulumi: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    pulumi(stack_ls=[])
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "No cluster was found.\n"


def test_only_known_reads_are_made(pulumi: Callable[..., None], tmp_path: Path) -> None:
    pulumi(stack_ls=[{"name": "prod"}, {"name": "dev"}])
    assert main(["status", "--stack", "prod", "--stack", "organization/other/prod", "-C", "there"]) == 0
    asked = sorted((tmp_path / "asked").read_text().splitlines())
    rest = "--non-interactive --color=never --cwd=there"
    assert asked == sorted(
        [
            f"stack ls --json {rest}",
            *(f"stack output --json --stack={name} {rest}" for name in ("prod", "organization/other/prod")),
            *(
                f"stack history --json --page-size=1 --stack={name} {rest}"
                for name in ("prod", "organization/other/prod")
            ),
        ]
    )
    assert main(["status", "--all-projects"]) == 0
    assert "stack ls --json --all --non-interactive --color=never" in (tmp_path / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        ({"stack_output": outputs(certificates={"ca-1": "2000-01-01T00:00:00Z"})}, "expiring"),
        ({"stack_output": outputs(certificates={"a/peer": "2000-01-01T00:00:00Z"})}, "pending"),
        ({"stack_history": [{"kind": "update", "result": "failed", "endTime": after(-1)}]}, "unhealthy"),
        ({"stack_output": outputs(backup={})}, "backup"),
    ],
)
def test_a_condition_sets_the_exit_status_only_when_asked_for(
    pulumi: Callable[..., None], given: dict[str, Any], condition: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi(**given)
    assert main(["status"]) == 0
    assert main(["status", "--format", "json", "--fail-on", f"{condition},backup"]) == 3
    (only,) = json.loads(capsys.readouterr().out.partition("{\n")[2].join(("{", "")))["stacks"]
    assert condition in only["conditions"]
    others = [each for each in facts.CONDITIONS if each not in only["conditions"]]
    assert main(["status", *(f"--fail-on={each}" for each in others)]) == 0


def test_a_stack_that_cannot_be_read_fails_and_the_others_are_shown(
    pulumi: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi(stack_ls=[{"name": "prod"}, {"name": "locked"}], stack_output_locked="not JSON")
    assert main(["status", "--fail-on", "expiring"]) == 1
    said_so = capsys.readouterr().out
    assert "production" in said_so
    assert "- locked: `pulumi stack output --json --stack=locked` printed no JSON" in said_so


def test_a_backend_that_cannot_be_read_is_an_error(
    pulumi: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi(stack_ls=None)
    assert main(["status"]) == 1
    assert "`pulumi stack ls --json` ended with status 1" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert main(["status"]) == 1
    assert "`pulumi` is not on PATH" in capsys.readouterr().err


def test_a_preview_is_shown_by_the_headline_of_its_review(
    pulumi: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pulumi(preview=preview(said(RESTART)))
    assert main(["status", "--preview", "--fail-on", "pending"]) == 3
    shown = capfd.readouterr()
    assert "1 member restarts" in shown.out
    pulumi(preview=json.dumps({"steps": [], "diagnostics": [], "changeSummary": {}}))
    assert main(["status", "--preview", "--fail-on", "pending"]) == 0
    assert "nothing changes" in capfd.readouterr().out
    (tmp_path / "asked").unlink()
    pulumi(preview=None)
    assert main(["status", "--preview"]) == 1
    shown = capfd.readouterr()
    assert "- prod: the preview failed; see `pulumi preview --stack prod`" in shown.out
    # A program's own messages may have anything.
    assert shown.err.count("canary-of-standard-error") == len((tmp_path / "asked").read_text().splitlines()) - 1


def test_nothing_is_repeated_but_known_names_numbers_and_times(
    monkeypatch: pytest.MonkeyPatch, pulumi: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A canary in every text and beside every name of the outputs."""
    from components.status.table import table  # noqa: PLC0415

    whole = {"note": CANARY, "clusters": [outputs(applied=applied(migration="join", trusted={"1": "", "2": ""}))]}
    tried = 0
    for _, other in spoiled(whole):
        assert isinstance(other, dict)
        found = stack(other)
        assert CANARY not in table([found], []) + json.dumps(repr(found))
        tried += 1
    assert tried > 100


def test_a_wrong_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (
            ["status", "--fail-on", "expiring,everything"],
            "'everything' is none of expiring, unhealthy, pending, backup",
        ),
        (["status", "--stack", "a b"], "a stack's name has only letters"),
        (["status", "--preview", "--all-projects"], "not allowed with argument"),
        (["everything"], "invalid choice: 'everything'"),
        ([], "required: COMMAND"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_the_command_lists_its_commands_and_each_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    for name, (_, about) in cli.COMMANDS.items():
        assert f"  {name}" in listed and about in listed
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: external-etcd {name} ")


def test_no_command_imports_pulumi() -> None:
    modules = [module for module, _ in cli.COMMANDS.values()]
    code = (
        "import sys; from importlib import import_module; from components import cli; light = len(sys.modules)\n"
        f"for each in {modules}: import_module(each, 'components')\n"
        "print({'pulumi', 'grpc', 'asyncio'} & {*sys.modules}, 'components.review.cli' in sys.modules)\n"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, cwd=REPO, capture_output=True, text=True, check=True).stdout == "set() True\n"
    python = [sys.executable, "-X", "importtime", "-m", "components", "--version"]
    done = subprocess.run(python, cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("external-etcd ")
    assert not [name for name in ("components.review", "components.status", "pulumi") if name in done.stderr]
