"""The parts of GitHub's and GitLab's REST API that examples/ci uses, on a loopback address."""

import http.server
import json
import re
import urllib.parse
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from .web import served_by

PAGE = 2
"""Entries of a page, however many are asked for."""
PULL = 7
MINE, OTHERS = "mine", "others"

_GITHUB = {
    "comments": rf"/repos/team/etcd/issues/{PULL}/comments",
    "comment": r"/repos/team/etcd/issues/comments/(\d+)",
    "issues": r"/repos/team/etcd/issues",
    "issue": r"/repos/team/etcd/issues/(\d+)",
    "pull": rf"/repos/team/etcd/pulls/{PULL}",
    "files": rf"/repos/team/etcd/pulls/{PULL}/files",
    "content": r"/repos/team/etcd/contents/(.+)",
}
_GITLAB = {
    "user": r"/user",
    "comments": rf"/projects/5/merge_requests/{PULL}/notes",
    "comment": rf"/projects/5/merge_requests/{PULL}/notes/(\d+)",
    "issues": r"/projects/5/issues",
    "issue": r"/projects/5/issues/(\d+)",
    "pull": rf"/projects/5/merge_requests/{PULL}",
    "files": rf"/projects/5/merge_requests/{PULL}/diffs",
    "content": r"/projects/5/repository/files/([^/]+)/raw",
}


@dataclass
class Text:
    """A comment or an issue."""

    number: int
    author: str
    """`MINE`, or `OTHERS`."""
    text: str
    title: str = ""
    open: bool = True


@dataclass
class Project:
    """A project at GitHub or GitLab with pull request `PULL`. Lists have more pages than one."""

    kind: str
    """`github` or `gitlab`."""
    token: str
    """What every request must have."""
    comments: list[Text] = field(default_factory=list)
    issues: list[Text] = field(default_factory=list)
    head: str = ""
    """Last commit of the pull request."""
    files: dict[str, str] = field(default_factory=dict)
    """What the pull request changes: path -> text."""
    requests: list[str] = field(default_factory=list)
    """Those that changed something, such as `POST comments`."""

    def answer(self, method: str, target: str, fields: dict[str, Any]) -> Any:
        """The answer to a request; text is raw. Raises LookupError if there is no such thing."""
        path, _, query = target.partition("?")
        routes = _GITHUB if self.kind == "github" else _GITLAB
        what, found = next((name, m) for name, route in routes.items() if (m := re.fullmatch(route, path)))
        given = urllib.parse.parse_qs(query)
        if method != "GET":
            self.requests.append(f"{method} {what}")
        if what in ("comments", "comment"):
            return self._texts(self.comments, method, found, given, fields)
        if what in ("issues", "issue"):
            return self._texts(self.issues, method, found, given, fields)
        if what == "content":
            assert given["ref"] == [self.head]
            return self.files[urllib.parse.unquote(found[1])]
        names = [each for each in self.files if given.get("page") == ["1"]]
        if self.kind == "github":
            return {"pull": {"head": {"sha": self.head}}, "files": [{"filename": name} for name in names]}[what]
        files = [{"new_path": name, "old_path": name} for name in names]
        return {"pull": {"sha": self.head}, "files": files, "user": {"id": 1}}[what]

    def _texts(
        self,
        texts: list[Text],
        method: str,
        found: re.Match[str],
        given: dict[str, list[str]],
        fields: dict[str, str],
    ) -> Any:
        if method == "GET":
            first = (int(given["page"][0]) - 1) * PAGE
            return [self._shown(each) for each in texts if each.open][first : first + PAGE]
        if method == "POST":
            texts.append(Text(100 + len(texts), MINE, ""))
            return self._changed(texts[-1], fields)
        text = next(each for each in texts if each.number == int(found[1]))
        if method == "DELETE":
            return texts.remove(text)
        assert method == ("PATCH" if self.kind == "github" else "PUT")
        return self._changed(text, fields)

    def _changed(self, text: Text, fields: dict[str, str]) -> Any:
        closing = {"state": "closed"} if self.kind == "github" else {"state_event": "close"}
        text.open = not closing.items() <= fields.items()
        text.title = fields.get("title", text.title)
        text.text = fields.get("body", fields.get("description", text.text))
        return self._shown(text)

    def _shown(self, text: Text) -> dict[str, Any]:
        if self.kind == "github":
            # The user of others has been deleted.
            user = {"login": "github-actions[bot]"} if text.author == MINE else None
            return {"id": text.number, "number": text.number, "user": user, "body": text.text}
        author = {"id": 1 if text.author == MINE else 2}
        numbers = {"id": text.number, "iid": text.number}
        return {**numbers, "author": author, "body": text.text, "description": text.text}

    def serving(self) -> AbstractContextManager[str]:
        """Serves on a free port of this computer; yields the API's URL."""
        project = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                fields = json.loads(self.rfile.read(length)) if length else {}
                given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                token = given if project.kind == "github" else self.headers.get("PRIVATE-TOKEN")
                try:
                    found = project.answer(self.command, self.path, fields) if token == project.token else None
                    code = 200 if token == project.token else 401
                except (LookupError, StopIteration):
                    found, code = None, 404
                self.send_response(code)
                self.end_headers()
                if found is not None:
                    self.wfile.write(found.encode() if isinstance(found, str) else json.dumps(found).encode())

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  as they are called

        return served_by(Handler)
