"""The manual's lines for GitHub Actions: one comment for each stack, which is replaced."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.manual import manual_lines
from tests.support.stacks import REPO

# GitHub's CLI with the comments of a pull request in a file. It knows the one filter of the manual.
GH = """
import json, pathlib, re, sys
store = pathlib.Path(__file__).with_name("comments.json")
comments, arguments = json.loads(store.read_text()), sys.argv[1:]
path = next(each for each in arguments if each.startswith("repos/me/mine/issues/"))
if "--jq" in arguments:
    form = r'\\.\\[\\] \\| select\\(\\.user\\.login == "(.+?)" and '
    form += r'\\(\\.body \\| startswith\\("(.+?)"\\)\\)\\) \\| \\.id'
    login, start = re.fullmatch(form, arguments[arguments.index("--jq") + 1]).groups()
    assert path.endswith("/7/comments")
    print(*(each["id"] for each in comments if each["login"] == login and each["body"].startswith(start)), sep="\\n")
else:
    assert arguments[-2:] == ["-F", "body=@comment.md"], arguments
    body = pathlib.Path("comment.md").read_text()
    if "PATCH" in arguments:
        next(each for each in comments if str(each["id"]) == path.rpartition("/")[2])["body"] = body
    else:
        assert path.endswith("/7/comments")
        comments.append({"id": len(comments) + 1, "login": "github-actions[bot]", "body": body})
    store.write_text(json.dumps(comments))
"""


class PullRequest:
    """A pull request, and the programs that the lines run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.comments: list[dict[str, Any]] = [
            {"id": 1, "login": "mallory", "body": "<!-- external-etcd review: prod -->"}
        ]
        python = sys.executable
        programs = {
            "gh": f"#!{python}\n{GH}",
            "pulumi": f"#!/bin/sh\ncat {directory}/given.json\nexit 255\n",
            "external-etcd": f"#!{python}\nimport sys\nsys.path.insert(0, {str(REPO)!r})\n"
            "from components.review.cli import main\nsys.exit(main())\n",
        }
        for name, text in programs.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)

    def run(self, preview: str, stack: str = "prod") -> int:
        """The exit status of the lines for this preview."""
        (self.directory / "given.json").write_text(preview)
        store = self.directory / "comments.json"
        store.write_text(json.dumps(self.comments))
        environ = {**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"}
        environ |= {"STACK": stack, "GITHUB_REPOSITORY": "me/mine", "PULL": "7"}
        lines = manual_lines("One comment for each stack", document="review.md")
        # As GitHub Actions runs them.
        done = subprocess.run(["bash", "-eo", "pipefail", "-c", lines], cwd=self.directory, env=environ, check=False)
        self.comments = json.loads(store.read_text())
        return done.returncode


def preview(*errors: str) -> str:
    messages: list[dict[str, Any]] = [{"severity": "error", "message": f"error: {text}\n"} for text in errors]
    return json.dumps({"steps": [], "diagnostics": messages, "changeSummary": {}})


@pytest.fixture
def pull_request(tmp_path: Path) -> PullRequest:
    return PullRequest(tmp_path)


def test_the_comment_of_a_stack_is_replaced_and_no_other(pull_request: PullRequest) -> None:
    assert pull_request.run(preview()) == 0
    assert pull_request.run(preview(), stack="prod-2") == 0
    assert ["nothing changes" in each["body"] for each in pull_request.comments] == [False, True, True]
    refusal = "This change of the cluster test is refused; nothing was touched:\n  version: given '3.7.3'. No. Do not."
    assert pull_request.run(preview(refusal)) == 3
    bodies = [each["body"] for each in pull_request.comments]
    assert len(bodies) == 3
    assert "No. Do not." in bodies[1]
    assert "nothing changes" in bodies[2]


def test_a_failed_preview_is_commented_and_ends_with_its_status(pull_request: PullRequest) -> None:
    assert pull_request.run(preview("boom")) == 1
    assert "the preview failed" in pull_request.comments[1]["body"]


def test_without_a_preview_no_comment_is_touched(pull_request: PullRequest) -> None:
    assert pull_request.run("") == 1
    assert len(pull_request.comments) == 1
