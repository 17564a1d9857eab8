"""The parts of GitHub's and GitLab's REST API that the programs here use. Standard library only."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SECONDS = 30


class ApiError(Exception):
    """A request failed. The text has no token."""


@dataclass(frozen=True)
class Texts:
    """The comments on a pull request, or the open issues."""

    listed: str
    """Path that lists them."""
    each: str
    """Path of one, without its number."""
    number: str
    """Field that has the number."""
    text: str
    """Field that has the text."""


class Api(ABC):
    """A project at GitHub or GitLab."""

    project: str
    """Its path."""
    issues: Texts
    closing: Mapping[str, str]
    """What closes an issue."""
    changing: str
    """HTTP method that changes something."""

    def __init__(self, root: str, **headers: str) -> None:
        self._root, self._headers = root, headers

    @abstractmethod
    def comments(self, pull: int) -> Texts:
        """The comments on a pull request."""

    @abstractmethod
    def is_mine(self, entry: Mapping[str, Any]) -> bool:
        """Whether this workflow wrote a comment or an issue. Anybody can write one with the same first line."""

    @abstractmethod
    def head(self, pull: int) -> str:
        """The last commit of a pull request."""

    @abstractmethod
    def files(self, pull: int) -> set[str]:
        """The files that a pull request changes, with their old names."""

    @abstractmethod
    def content(self, path: str, commit: str) -> str:
        """A file at a commit."""

    def call(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> Any:
        """The answer to a request; None if it is empty. Raises ApiError."""
        answer = self.text(method, path, fields)
        return json.loads(answer) if answer else None

    def all(self, path: str) -> Iterator[dict[str, Any]]:
        """The entries of all pages of a list."""
        joint, number = "&" if "?" in path else "?", 1
        while page := self.call("GET", f"{path}{joint}per_page=100&page={number}"):
            yield from page
            number += 1

    def text(self, method: str, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> str:
        """The answer as it is. Raises ApiError."""
        data = None if fields is None else json.dumps(fields).encode()
        sent = {**self._headers, **({"Content-Type": "application/json"} if data else {}), **headers}
        # The address is a variable of the CI.
        request = urllib.request.Request(f"{self._root}{path}", data, sent, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise ApiError(f"{method} {path} was answered with {error.code} {error.reason}") from None
        except OSError as error:
            raise ApiError(f"{method} {path} failed: {error}") from None


class GitHub(Api):
    """GitHub; GITHUB_TOKEN is the token of the job."""

    closing: Mapping[str, str] = {"state": "closed"}
    changing = "PATCH"

    def __init__(self) -> None:
        super().__init__(os.environ["GITHUB_API_URL"], Authorization=f"Bearer {os.environ['GITHUB_TOKEN']}")
        self.project = f"/repos/{os.environ['GITHUB_REPOSITORY']}"
        self.issues = Texts(f"{self.project}/issues", f"{self.project}/issues", "number", "body")

    def comments(self, pull: int) -> Texts:
        """The comments on a pull request."""
        issues = self.issues.each
        return Texts(f"{issues}/{pull}/comments", f"{issues}/comments", "id", "body")

    def is_mine(self, entry: Mapping[str, Any]) -> bool:
        """Whether this workflow wrote it. The list of issues has pull requests, too. A deleted user is null."""
        return (entry["user"] or {}).get("login") == "github-actions[bot]" and "pull_request" not in entry

    def head(self, pull: int) -> str:
        """The last commit of a pull request."""
        return str(self.call("GET", f"{self.project}/pulls/{pull}")["head"]["sha"])

    def files(self, pull: int) -> set[str]:
        """The files that a pull request changes, with their old names."""
        found = self.all(f"{self.project}/pulls/{pull}/files")
        return {each[key] for each in found for key in ("filename", "previous_filename") if key in each}

    def content(self, path: str, commit: str) -> str:
        """A file at a commit."""
        place = f"{self.project}/contents/{urllib.parse.quote(path)}?ref={commit}"
        return self.text("GET", place, Accept="application/vnd.github.raw+json")


class GitLab(Api):
    """GitLab; GITLAB_TOKEN is an access token of the project, because a job's own token cannot write comments."""

    closing: Mapping[str, str] = {"state_event": "close"}
    changing = "PUT"

    def __init__(self) -> None:
        super().__init__(os.environ["CI_API_V4_URL"], **{"PRIVATE-TOKEN": os.environ["GITLAB_TOKEN"]})
        self.project = f"/projects/{os.environ['CI_PROJECT_ID']}"
        issues = f"{self.project}/issues"
        self.issues = Texts(f"{issues}?state=opened", issues, "iid", "description")
        self._me = self.call("GET", "/user")["id"]

    def comments(self, pull: int) -> Texts:
        """The notes on a merge request."""
        notes = f"{self.project}/merge_requests/{pull}/notes"
        return Texts(notes, notes, "id", "body")

    def is_mine(self, entry: Mapping[str, Any]) -> bool:
        """Whether the token's user wrote it."""
        return bool(entry["author"]["id"] == self._me)

    def head(self, pull: int) -> str:
        """The last commit of a merge request."""
        return str(self.call("GET", f"{self.project}/merge_requests/{pull}")["sha"])

    def files(self, pull: int) -> set[str]:
        """The files that a merge request changes, with their old names."""
        found = self.all(f"{self.project}/merge_requests/{pull}/diffs")
        return {each[key] for each in found for key in ("new_path", "old_path")}

    def content(self, path: str, commit: str) -> str:
        """A file at a commit."""
        quoted = urllib.parse.quote(path, safe="")
        return self.text("GET", f"{self.project}/repository/files/{quoted}/raw?ref={commit}")


def connect() -> Api:
    """The project whose CI runs this. Raises ApiError if that is neither, or a variable is missing."""
    try:
        if os.environ.get("GITLAB_CI"):
            return GitLab()
        if os.environ.get("GITHUB_ACTIONS"):
            return GitHub()
    except KeyError as missing:
        raise ApiError(f"the variable {missing.args[0]} is not set") from None
    raise ApiError("this runs in a job of GitHub Actions or GitLab CI only")
