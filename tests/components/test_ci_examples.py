"""The CI examples: their files are valid, and their shell lines do what docs/pull-requests.md says.

The lines run with the real `external-etcd review`, a stand-in for `pulumi` that prints a preview, and the API of GitHub
or GitLab on a loopback address.
"""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.ci_jobs import Job, github_job, gitlab_file, gitlab_job
from tests.support.manual import manual_lines
from tests.support.review_api import MINE, OTHERS, PULL, Project, Text
from tests.support.stacks import REPO
from tools.pulumi import ensure_pulumi
from tools.workflows import ensure_actionlint, ensure_gitlab_schema

CANARY = "c4n4ry"
MARKER = "<!-- external-etcd review: production -->"
COMMIT = "c0ffee" + "0" * 34
URN = "urn:pulumi:production::external-etcd"
CONVERGE = {
    "op": "update",
    "urn": f"{URN}::external-etcd:index:EtcdCluster$command:remote:Command::test-etcd-1-converge",
}
REFUSAL = (
    "error: This change of the cluster test is refused; nothing was touched:\n  version: given '3.7.3'. One minor."
)


def preview(*messages: tuple[str, str], changes: bool = True) -> str:
    """`pulumi preview --json` with these messages (severity, text); with changes, a member restarts."""
    cluster = f"{URN}::external-etcd:index:EtcdCluster::test"
    said = [{"urn": cluster, "severity": severity, "message": f"{text}\n"} for severity, text in messages]
    steps = [{**CONVERGE, "newState": {"inputs": {"create": CANARY}}}] if changes else []
    config = {"external-etcd:sshPrivateKey": CANARY}
    return json.dumps({"config": config, "steps": steps, "diagnostics": said, "changeSummary": {}})


RESTART = preview(("info", " 1. etcd-1 restarts: --max-txn-ops [2 of 3 voters running, tolerates no further failure]"))
NOTHING = preview(changes=False)
REFUSED = preview(("error", REFUSAL), changes=False)

PULUMI = """#!/bin/bash
echo "$*" >>"$CALLS/calls"
env >"$CALLS/environment"
case "$*" in
  preview*--json*) cat "$CALLS/preview"; exit "$(cat "$CALLS/status")" ;;
  preview*) echo "what the preview shows people" ;;
esac
"""


class Team:
    """A repository with the examples in it, and its project at GitHub or GitLab.

    Args:
        directory: an empty folder.
        project: where comments and issues go.
        url: the address of its API.
    """

    def __init__(self, directory: Path, project: Project, url: str) -> None:
        self.repository, self.project = directory / "repository", project
        self._calls, temporary, programs = directory / "calls", directory / "tmp", directory / "bin"
        for folder in (self._calls, temporary, programs, self.repository):
            folder.mkdir()
        github = manual_lines("4. GitHub", document="pull-requests.md")
        lines = github if project.kind == "github" else manual_lines("5. GitLab", document="pull-requests.md")
        clone = self.repository / "external-etcd"
        clone.symlink_to(REPO)
        subprocess.run(["sh", "-euc", lines], cwd=self.repository, check=True)
        clone.unlink()
        (self.repository / "Pulumi.yaml").write_text("name: external-etcd\n")
        entry = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]["external-etcd"]
        module, _, function = entry.replace("external_etcd", "components", 1).partition(":")
        program = f"import sys; sys.path.insert(0, '{REPO}'); from {module} import {function}; sys.exit({function}())"
        for path, text in {
            programs / "pulumi": PULUMI,
            # Without packages: what it runs must need the standard library only.
            programs / "python3": f'#!/bin/sh\nexec {sys.executable} -S "$@"\n',
            self.repository / ".venv/bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
            self.repository / ".venv/bin/external-etcd": f'#!/bin/sh\nexec {sys.executable} -S -c "{program}" "$@"\n',
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        self._environ = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "CALLS": str(self._calls),
            "TMPDIR": str(temporary),
            **self._variables(url, str(temporary)),
        }
        self._token = project.token
        self._secrets = {"PULUMI_CONFIG_PASSPHRASE": CANARY, "HCLOUD_TOKEN": CANARY}
        self.log = ""

    def _variables(self, url: str, temporary: str) -> dict[str, str]:
        if self.project.kind == "github":
            project = {"GITHUB_API_URL": url, "GITHUB_REPOSITORY": "team/etcd"}
            return {"GITHUB_ACTIONS": "true", "RUNNER_TEMP": temporary, **project}
        project = {"CI_API_V4_URL": url, "CI_PROJECT_ID": "5", "CI_MERGE_REQUEST_IID": str(PULL)}
        aws = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/etcd", "AWS_ID_TOKEN": "e30.e30.e30"}
        return {"GITLAB_CI": "true", "GITLAB_TOKEN": self.project.token, **project, **aws}

    def prints(self, text: str, status: int = 0) -> None:
        """What `pulumi preview --json` prints from now on, and how it ends."""
        (self._calls / "preview").write_text(text)
        (self._calls / "status").write_text(str(status))

    @property
    def calls(self) -> list[str]:
        """The command lines of `pulumi` since this was asked last."""
        file = self._calls / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    @property
    def environment(self) -> str:
        """What the last `pulumi` had as its environment."""
        return (self._calls / "environment").read_text()

    def pull_request(self, source: str = "team/etcd") -> Job:
        """The preview of a pull request from a repository."""
        if self.project.kind == "gitlab":
            return self._gitlab("preview", STACK="production")
        event = "github.event.pull_request"
        return self._github(
            "etcd-pull-request.yml",
            "preview",
            {f"{event}.head.repo.full_name": source, "github.repository": "team/etcd", f"{event}.number": str(PULL)},
        )

    def checks(self, source: str) -> Job:
        """The checks of a pull request from a repository, without secrets."""
        self._secrets = {}
        if self.project.kind == "gitlab":
            return self._gitlab("checks")
        given = {"github.event.pull_request.head.repo.full_name": source, "github.repository": "team/etcd"}
        return self._github("etcd-pull-request.yml", "checks", given)

    def fork(self, commit: str) -> Job:
        """The preview of a fork's pull request, started for a commit."""
        if self.project.kind == "gitlab":
            fork = {"FORK_STACK": "production", "FORK_MERGE_REQUEST": str(PULL), "FORK_COMMIT": commit}
            return self._gitlab("preview of a fork", **fork)
        given = {"inputs.stack": "production", "inputs.pull": str(PULL), "inputs.commit": commit}
        return self._github("etcd-fork.yml", "preview", given)

    def review(self) -> Job:
        """The review after the merge."""
        if self.project.kind == "gitlab":
            return self._gitlab("review production")
        return self._github(
            "etcd-update-stack.yml", "review", {"inputs.stack": "production", "inputs.refresh": "false"}
        )

    def update(self, review: Job) -> Job:
        """The update that was approved after this review."""
        if self.project.kind == "gitlab":
            return self._gitlab("update production", **review.outputs)
        needs = {f"needs.review.outputs.{key}": value for key, value in review.outputs.items()}
        given = {"inputs.stack": "production", "inputs.refresh": "false", **needs}
        return self._github("etcd-update-stack.yml", "update", given)

    def drift(self) -> Job:
        """The job of the schedule."""
        if self.project.kind == "gitlab":
            return self._gitlab("drift", STACK="production")
        # The event of a schedule has no repository.
        event = {"github.event_name": "schedule", "github.event.repository.default_branch": ""}
        return self._github("etcd-drift.yml", "drift", event)

    def _github(self, workflow: str, job: str, given: dict[str, str]) -> Job:
        context = {
            "matrix.stack": "production",
            "github.token": self._token,
            "github.event_name": "push",
            "github.ref": "refs/heads/main",
            "github.event.repository.default_branch": "main",
            **{f"secrets.{key}": value for key, value in self._secrets.items()},
            **given,
        }
        return self._kept(github_job(self.repository, workflow, job, context, self._environ))

    def _gitlab(self, job: str, **given: str) -> Job:
        return self._kept(gitlab_job(self.repository, job, {**self._environ, **self._secrets, **given}))

    def _kept(self, job: Job) -> Job:
        self.log += job.log
        return job

    def configuration(self, text: str) -> str:
        """Write the stack's file of the default branch; returns it."""
        (self.repository / "Pulumi.production.yaml").write_text(text)
        return text

    def everything(self) -> str:
        """All that others can read: logs, comments, issues, and the files that are left."""
        files = [path for top in (self.repository, Path(self._environ["TMPDIR"])) for path in top.rglob("*")]
        texts = [path.read_bytes().decode(errors="replace") for path in files if path.is_file()]
        shown = [each.title + each.text for each in (*self.project.comments, *self.project.issues)]
        return "\n".join([self.log, *shown, *texts])


@pytest.fixture(params=["github", "gitlab"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Team]:
    """A team with comments of others. After the test, no secret is anywhere."""
    project = Project(request.param, "token-of-the-job")
    project.comments = [Text(1, OTHERS, "Hello"), Text(2, OTHERS, f"{MARKER}\n"), Text(3, OTHERS, "")]
    project.issues = [Text(1, OTHERS, f"{MARKER}\n", "A question"), Text(2, OTHERS, ""), Text(3, OTHERS, "")]
    with project.serving() as url:
        team = Team(tmp_path, project, url)
        yield team
    everything = team.everything()
    assert CANARY not in everything
    assert project.token not in everything


def test_two_runs_leave_one_comment_for_the_stack(team: Team) -> None:
    others = [each.text for each in team.project.comments]
    team.project.comments.append(Text(4, MINE, "<!-- external-etcd review: staging -->\n"))
    team.prints(RESTART)
    first = team.pull_request()
    assert first.passed, first.log
    *rest, comment = team.project.comments
    assert comment.text.startswith(f"{MARKER}\n\n### etcd cluster `test`, stack `production`: 1 member restarts")
    team.prints(NOTHING)
    assert team.pull_request().passed
    assert team.project.comments == [*rest, comment]
    assert comment.text == f"{MARKER}\n\n### etcd, stack `production`: nothing changes\n"
    assert [each.text for each in rest] == [*others, "<!-- external-etcd review: staging -->\n"]
    assert team.calls.count("preview --json --non-interactive --stack=production") == 2


def test_what_two_runs_at_once_have_left_is_cleared_up(team: Team) -> None:
    team.project.comments += [Text(number, MINE, f"{MARKER}\r\nold") for number in (4, 5, 6)]
    team.prints(NOTHING)
    assert team.pull_request().passed
    assert [each.number for each in team.project.comments] == [1, 2, 3, 4]
    assert "nothing changes" in team.project.comments[-1].text


def test_a_refused_change_fails_the_check_and_is_commented(team: Team) -> None:
    team.prints(REFUSED, 255)
    job = team.pull_request()
    assert not job.passed
    assert "this change is refused" in team.project.comments[-1].text
    assert "what the preview shows people" in job.log, "the comment sends its readers to the log"
    assert "up " not in "".join(team.calls)


@pytest.mark.parametrize("printed", ["error: no stack named 'production' found", RESTART])
def test_a_preview_that_failed_replaces_the_comment_on_the_last_commit(team: Team, printed: str) -> None:
    """The last one has a change and ends with an error: a violated policy pack."""
    team.project.comments.append(Text(4, MINE, f"{MARKER}\nnothing changes"))
    team.prints(printed, 255)
    assert not team.pull_request().passed
    assert "the preview failed" in team.project.comments[-1].text
    assert team.project.comments[-1].number == 4


def test_a_comment_that_cannot_be_posted_fails_the_check(team: Team) -> None:
    team.project.token = "token-of-another-job"
    team.prints(NOTHING)
    job = team.pull_request()
    assert not job.passed
    if team.project.kind == "gitlab":
        assert "GET /user was answered with 401" in job.log


@pytest.mark.parametrize("team", ["github"], indirect=True)
def test_the_program_does_not_get_the_token_that_comments(team: Team) -> None:
    """GitLab gives all variables of a job to all of its lines."""
    team.prints(NOTHING)
    assert team.pull_request().passed
    assert f"PULUMI_CONFIG_PASSPHRASE={CANARY}" in team.environment
    assert team.project.token not in team.environment


def test_an_update_makes_the_change_that_was_approved(team: Team) -> None:
    team.prints(RESTART)
    review = team.review()
    assert review.passed
    assert review.outputs["verdict"] == "changes"
    assert "1 member restarts" in review.log, "who approves must see it"
    assert team.calls[-1].startswith("preview --json")
    update = team.update(review)
    assert update.passed, update.log
    assert team.calls[-1] == "up --yes --skip-preview --non-interactive --suppress-outputs --stack=production"


def test_an_update_does_not_make_another_change_than_was_approved(team: Team) -> None:
    team.prints(RESTART)
    review = team.review()
    team.prints(RESTART.replace("max-txn-ops", "max-request-bytes"))
    update = team.update(review)
    assert not update.passed
    assert "this is not the change that was approved" in update.log
    assert "max-request-bytes" in update.log
    assert [each for each in team.calls if each.startswith("up")] == []


def test_an_update_of_nothing_or_of_something_refused_is_none(team: Team) -> None:
    team.prints(NOTHING)
    assert team.update(team.review()).passed
    team.prints(REFUSED, 255)
    review = team.review()
    assert not review.passed
    assert "this change is refused" in review.log
    assert review.outputs["verdict"] == "refused"
    approved = Job(True, "", {"verdict": "changes", "digest": review.outputs["digest"]})
    assert not team.update(approved).passed
    assert [each for each in team.calls if each.startswith("up")] == []


def test_drift_opens_one_issue_updates_and_closes_it(team: Team) -> None:
    before = [(each.text, each.title, each.open) for each in team.project.issues]
    team.prints(RESTART)
    assert team.drift().passed
    *others, issue = team.project.issues
    assert [(each.text, each.title, each.open) for each in others] == before
    assert issue.title == "Drift: etcd cluster test, stack production: 1 member restarts"
    assert issue.text.startswith(f"{MARKER}\n")
    assert "--refresh" in team.calls[-1]
    team.prints("", 255)
    assert not team.drift().passed
    assert (issue.open, issue.title) == (True, "Drift: etcd, stack production: the preview failed")
    team.prints(NOTHING)
    assert team.drift().passed
    assert (issue.open, len(team.project.issues)) == (False, 4)


OURS = """config:
  aws:region: eu-central-1
  external-etcd:version: 3.5.35
  external-etcd:sshPrivateKey:
    secure: v1:abc
encryptionsalt: v1:salt
"""
THEIRS = OURS.replace("3.5.35", "3.6.16")


def test_a_forks_configuration_is_previewed_with_the_code_of_the_default_branch(team: Team) -> None:
    team.configuration(OURS)
    team.project.head, team.project.files = COMMIT, {"Pulumi.production.yaml": THEIRS}
    team.prints(RESTART)
    job = team.fork(COMMIT)
    assert job.passed, job.log
    assert "1 member restarts" in team.project.comments[-1].text
    written = yaml.safe_load((team.repository / "Pulumi.production.yaml").read_text())
    assert written == yaml.safe_load(THEIRS)


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        (OURS.replace("aws:region: eu-central-1", "aws:region: x"), "changes aws:region;"),
        (OURS.replace("  aws:region: eu-central-1\n", ""), "changes aws:region;"),
        (OURS.replace("config:\n", "config:\n  hcloud:endpoint: https://example.com\n"), "changes hcloud:endpoint;"),
        (OURS.replace("3.5.35", "\n    secure: v1:abc"), "changes external-etcd:version, which has a secret"),
        (OURS.replace("3.5.35", "[a: {secure: v1:abc}]"), "changes external-etcd:version, which has a secret"),
        (OURS.replace("v1:abc", "v1:other"), "changes external-etcd:sshPrivateKey, which has a secret"),
        (OURS.replace("v1:salt", "v1:other"), "changes how the stack is encrypted"),
        (OURS + "environment: [theirs]\n", "or its environment"),
        ("- nothing\n", "is no configuration of a stack"),
    ],
)
def test_more_than_plain_values_is_not_taken_over_from_a_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str, reason: str
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: external-etcd\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(REPO / "examples" / "ci")
    fork = runpy.run_path(str(REPO / "examples" / "ci" / "fork.py"))
    with pytest.raises(fork["RefusedError"], match=re.escape(reason)):
        fork["_merged"](yaml.safe_load(OURS), yaml.safe_load(theirs))


@pytest.mark.parametrize("code", ["ci/stack.py", "Pulumi.yaml", "requirements.txt"])
def test_a_fork_that_changes_code_is_refused_before_a_preview(team: Team, code: str) -> None:
    team.configuration(OURS)
    team.project.head, team.project.files = COMMIT, {"Pulumi.production.yaml": THEIRS, code: ""}
    job = team.fork(COMMIT)
    assert not job.passed
    assert f"{PULL} changes {code}, which is code" in job.log
    assert (team.repository / "Pulumi.production.yaml").read_text() == OURS
    assert team.calls == ["install"]
    assert team.project.requests == []


@pytest.mark.parametrize(("reviewed", "reason"), [("d" * 40, "was not reviewed"), ("c0ffee0", "is not a whole commit")])
def test_a_fork_that_was_pushed_to_after_the_review_is_refused(team: Team, reviewed: str, reason: str) -> None:
    team.configuration(OURS)
    team.project.head, team.project.files = COMMIT, {"Pulumi.production.yaml": THEIRS}
    job = team.fork(reviewed)
    assert not job.passed
    assert reason in job.log
    assert team.calls == ["install"]


@pytest.mark.parametrize("script", ["post.py", "fork.py"])
def test_a_script_with_other_arguments_prints_its_usage(script: str) -> None:
    command = [sys.executable, str(REPO / "examples" / "ci" / script), "other", "arguments"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, f"ci/{script}" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_forks_pull_request_gets_checks_and_no_preview(team: Team) -> None:
    team.prints(NOTHING)
    if team.project.kind == "github":
        assert team.pull_request("mallory/etcd").log == "skipped"
    job = team.checks("mallory/etcd")
    assert job.passed
    assert team.calls == ["install"]
    assert CANARY not in team.environment
    assert team.project.kind == "gitlab" or "No preview: a pull request from a fork gets no secrets." in job.log


def test_actionlint_accepts_the_workflows(tmp_path: Path) -> None:
    shutil.copytree(REPO / "examples" / "github-actions", tmp_path / ".github")
    (tmp_path / ".git").mkdir()
    files = sorted((tmp_path / ".github" / "workflows").iterdir())
    command = [str(ensure_actionlint()), "-no-color", "-shellcheck=", "-pyflakes="]
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    files[0].write_text(files[0].read_text().replace("matrix.stack", "matrix.stak"))
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, 'property "stak" is not defined' in done.stdout) == (1, True)


def test_the_cli_knows_every_option_that_the_script_gives_it() -> None:
    script = (REPO / "examples" / "ci" / "stack.py").read_text()
    commands = re.findall(r'\["pulumi", "(\w+)", (.*)\]', script)
    assert {verb for verb, _ in commands} == {"preview", "up"}
    for verb, options in commands:
        command = [str(ensure_pulumi() / "pulumi"), verb, "--help"]
        known = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        for option in ["--stack", "--refresh", *re.findall(r"--[a-z-]+", options)]:
            assert f"{option} " in known, (verb, option)


def test_the_manual_names_every_variable_of_the_jobs() -> None:
    manual = (REPO / "docs" / "pull-requests.md").read_text()
    github = {name for path in WORKFLOWS for name in re.findall(r"(?:vars|secrets)\.(\w+)", path.read_text())}
    gitlab = gitlab_file(REPO / "examples" / "gitlab-ci")["variables"].keys() | {"AWS_ROLE_ARN", "GITLAB_TOKEN"}
    assert {name for name in github | gitlab if f"`{name}`" not in manual} == set()


def test_gitlabs_own_schema_accepts_its_file() -> None:
    schema = json.loads(ensure_gitlab_schema().read_text())
    check = jsonschema.validators.validator_for(schema)(schema)
    whole = yaml.safe_load((REPO / "examples" / "gitlab-ci" / ".gitlab-ci.yml").read_text())
    assert [each.message for each in check.iter_errors(whole)] == []
    whole["drift"]["resourcegroup"] = "x"
    assert "'resourcegroup' was unexpected" in next(check.iter_errors(whole)).message


WORKFLOWS = sorted((REPO / "examples" / "github-actions" / "workflows").iterdir())
JOBS = [
    pytest.param(whole, name, id=f"{path.stem}-{name}")
    for path in WORKFLOWS
    for whole in [yaml.safe_load(path.read_text())]
    for name in whole["jobs"]
]


@pytest.mark.parametrize("path", [*WORKFLOWS, REPO / "examples/github-actions/actions/etcd-setup/action.yml"])
def test_other_actions_are_pinned_by_their_commit(path: Path) -> None:
    others = [each for each in re.findall(r"uses: (.*)", path.read_text()) if not each.startswith("./")]
    for each in others:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each
    assert not [each for each in others if "artifact" in each or "cache" in each], "a preview must not leave the job"


@pytest.mark.parametrize(("whole", "name"), JOBS)
def test_a_job_with_secrets_has_an_environment_few_permissions_and_is_never_cancelled(
    whole: dict[Any, Any], name: str
) -> None:
    # True is how YAML reads `on`.
    assert "pull_request_target" not in whole[True]
    assert "workflow_run" not in whole[True]
    job = whole["jobs"][name]
    allowed = {"contents": "read", "id-token": "write"}
    comments = "post.py" in json.dumps(job)
    if comments:
        allowed["issues" if "post.py issue" in json.dumps(job) else "pull-requests"] = "write"
    if "uses" in job:
        assert (whole["permissions"], job["secrets"]) == (allowed, "inherit")
        return
    assert whole["permissions"] == {"contents": "read"}
    checkouts = [each["with"] for each in job["steps"] if each.get("uses", "").startswith("actions/checkout@")]
    assert checkouts == [{"persist-credentials": False}]
    if "${{ secrets." not in json.dumps(job):
        assert ("permissions" in job, "environment" in job) == (False, False)
        return
    assert job["permissions"] == allowed
    stack = re.escape("${{ ") + r"(matrix|inputs)\.stack" + re.escape(" }}")
    assert re.fullmatch(f"{stack}(-preview)?", job["environment"])
    merged = "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)"
    assert job["if"] in (
        "github.event.pull_request.head.repo.full_name == github.repository",
        merged,
        f"github.event_name == 'schedule' || {merged}",
        "needs.review.outputs.verdict == 'changes'",
    )
    # The update alone has the environment with write access, and its group has no other job.
    update = not job["environment"].endswith("-preview")
    assert update is ("stack.py update" in json.dumps(job))
    if comments or update:
        assert re.match(f"etcd-(preview|update|drift)-{stack}", job["concurrency"]["group"])
        assert job["concurrency"]["cancel-in-progress"] is False
        assert job["concurrency"]["group"].startswith("etcd-update-") is update


def test_a_job_of_gitlab_with_secrets_has_an_environment_and_is_never_cancelled() -> None:
    whole = gitlab_file(REPO / "examples" / "gitlab-ci")
    assert whole["workflow"]["auto_cancel"] == {"on_new_commit": "none"}
    assert whole["default"]["interruptible"] is False
    jobs = {name: job for name, job in whole.items() if name[0] != "." and isinstance(job, dict) and "script" in job}
    assert len(jobs) == 8
    for name, job in jobs.items():
        if name == "checks":
            assert ("environment" in job, "id_tokens" in job) == (False, False)
            continue
        assert set(job.get("artifacts", {"reports": {}})) == {"reports"}
        assert not {"interruptible", "cache"} & job.keys()
        stack = "$FORK_STACK" if "fork" in name else "$STACK"
        if name.startswith("update"):
            assert (job["environment"], job["resource_group"]) == ({"name": stack}, stack)
            assert {rule["when"] for rule in job["rules"]} == {"manual"}
            assert all("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"] for rule in job["rules"])
        else:
            assert job["environment"] == {"name": f"{stack}-preview", "action": "access"}
    [rule] = jobs["preview"]["rules"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID" in rule["if"]
