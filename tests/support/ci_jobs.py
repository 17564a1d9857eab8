"""Runs the shell lines of a job of GitHub Actions or GitLab CI on this computer, with the environment of the CI.

Only what the examples use: an unknown expression is an error.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Job:
    """The result of a job."""

    passed: bool
    log: str
    outputs: Mapping[str, str]


def github_job(team: Path, workflow: str, job: str, context: Mapping[str, str], environ: Mapping[str, str]) -> Job:
    """Run the `run` steps of a job, and those of the project's own actions that it uses; other actions are not run.

    Args:
        team: the repository, whose `.github` has the workflows.
        workflow: name of the file.
        job: its key.
        context: expression -> value, such as `matrix.stack`. A secret or variable that is missing is empty.
        environ: what the runner sets.
    """
    whole = yaml.safe_load((team / ".github/workflows" / workflow).read_text())
    given = whole["jobs"][job]
    run = _GitHubJob(team, dict(context), dict(environ))
    if not run.value(given.get("if", "'true'")):
        return Job(True, "skipped", {})
    shared = {**whole.get("env", {}), **given.get("env", {})}
    for step in given["steps"]:
        run.step(step, shared)
    return Job(not run.failed, run.log, {key: run.filled(text) for key, text in given.get("outputs", {}).items()})


class _GitHubJob:
    def __init__(self, team: Path, context: dict[str, str], environ: dict[str, str]) -> None:
        self._team, self._context, self._environ = team, context, environ
        self.failed, self.log = False, ""

    def step(self, step: Mapping[str, Any], shared: Mapping[str, str]) -> None:
        name = step.get("id", "")
        condition = step.get("if", "'true'").removeprefix("${{ ").removesuffix(" }}")
        if (self.failed and "cancelled()" not in condition) or not self.value(condition):
            self._context[f"steps.{name}.outcome"] = "skipped"
            return
        if step.get("uses", "").startswith("./"):
            action = yaml.safe_load((self._team / step["uses"] / "action.yml").read_text())
            defaults = {key: each.get("default", "") for key, each in action["inputs"].items()}
            inputs = {key: self.filled(text) for key, text in {**defaults, **step.get("with", {})}.items()}
            outside = {key: text for key, text in self._context.items() if not key.startswith("inputs.")}
            within = _GitHubJob(
                self._team, outside | {f"inputs.{key}": text for key, text in inputs.items()}, self._environ
            )
            for each in action["runs"]["steps"]:
                within.step(each, {})
            self.failed, self.log = self.failed or within.failed, self.log + within.log
        elif "run" in step:
            self._run(step, {**shared, **step.get("env", {})}, name)

    def _run(self, step: Mapping[str, Any], env: Mapping[str, str], name: str) -> None:
        out, summary = Path(self._environ["RUNNER_TEMP"], "out"), Path(self._environ["RUNNER_TEMP"], "summary")
        out.write_text("")
        summary.write_text("")
        environ = {**self._environ, **{key: self.filled(str(text)) for key, text in env.items()}}
        environ |= {"GITHUB_OUTPUT": str(out), "GITHUB_STEP_SUMMARY": str(summary)}
        assert "${{" not in step["run"], "an expression in a script can be code of a stranger"
        code, text = _bash(self._team, "set -e\n" + step["run"], environ)
        self.log += text + summary.read_text()
        self.failed = self.failed or code != 0
        self._context[f"steps.{name}.outcome"] = "failure" if code else "success"
        for line in out.read_text().splitlines():
            key, _, value = line.partition("=")
            self._context[f"steps.{name}.outputs.{key}"] = value

    def filled(self, text: str) -> str:
        """A text with its expressions replaced."""
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: self.value(found[1]), text)

    def value(self, expression: str) -> str:
        """The value of an expression; empty is false. Raises KeyError if it is not known."""
        if " || " in expression:
            return next(filter(None, map(self.value, expression.split(" || "))), "")
        if " && " in expression:
            values = [self.value(each) for each in expression.split(" && ")]
            return values[-1] if all(values) else ""
        for sign in ("!=", "=="):
            left, found, right = expression.partition(f" {sign} ")
            if found:
                return "true" if (self.value(left) == self.value(right)) is (sign == "==") else ""
        return self._operand(expression)

    def _operand(self, expression: str) -> str:
        if expression.startswith("'"):
            return expression.strip("'")
        if made := re.fullmatch(r"format\('(.*)', (.*)\)", expression):
            return made[1].replace("{0}", self.value(made[2]))
        if expression == "!cancelled()":
            return "true"
        if expression.startswith(("secrets.", "vars.")):
            return self._context.get(expression, "")
        return self._context[expression]


def gitlab_job(team: Path, job: str, environ: Mapping[str, str]) -> Job:
    """Run `before_script` and `script` of a job of the repository's `.gitlab-ci.yml`.

    Args:
        team: the repository.
        job: its name.
        environ: predefined variables, and those of the project.
    """
    whole = gitlab_file(team)
    given = whole[job]
    defaults = {key: each["value"] for key, each in whole["variables"].items()}
    lines = [*given.get("before_script", []), *given["script"]]
    code, text = _bash(
        team, "\n".join(["set -eo pipefail", *lines]), {**defaults, **given.get("variables", {}), **environ}
    )
    file = team / given.get("artifacts", {}).get("reports", {}).get("dotenv", "none")
    dotenv = file.read_text().splitlines() if file.exists() else []
    return Job(code == 0, text, {key: value for key, _, value in (line.partition("=") for line in dotenv)})


def gitlab_file(team: Path) -> dict[str, Any]:
    """`.gitlab-ci.yml`, with `extends` carried out."""
    whole: dict[str, Any] = yaml.safe_load((team / ".gitlab-ci.yml").read_text())

    def extended(job: dict[str, Any]) -> dict[str, Any]:
        return {**extended(whole[job["extends"]]), **job} if "extends" in job else job

    return {name: extended(job) if isinstance(job, dict) else job for name, job in whole.items()}


def _bash(team: Path, script: str, environ: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script],
        cwd=team,
        env={"HOME": str(team), "LANG": os.environ.get("LANG", "C.UTF-8"), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout
