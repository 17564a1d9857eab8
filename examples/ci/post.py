"""Posts what `external-etcd review` printed: one comment on a pull request, or one issue, for each stack.

python3 ci/post.py comment FILE NUMBER    # of a pull or merge request
python3 ci/post.py issue FILE VERDICT     # of the review; `nothing` closes the issue

A text that is there is replaced. Its invisible first line names the stack.
"""

import re
import sys
from pathlib import Path

from api import Api, ApiError, Texts, connect

_MARKER = re.compile(r"<!-- external-etcd review: [\w./-]+ -->", re.ASCII)


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    if len(arguments) != 3 or arguments[0] not in ("comment", "issue"):
        print(__doc__, file=sys.stderr)
        return 2
    what, file, argument = arguments
    try:
        text = Path(file).read_text(encoding="utf-8")
        if what == "comment":
            _comment(connect(), text, int(argument))
        else:
            _issue(connect(), text, argument)
    except (ApiError, OSError, ValueError) as error:
        print(f"ci/post.py: {error}", file=sys.stderr)
        return 1
    return 0


def _comment(api: Api, text: str, pull: int) -> None:
    comments = api.comments(pull)
    mine = _mine(api, comments, text)
    if mine:
        api.call(api.changing, f"{comments.each}/{mine[0]}", {comments.text: text})
    else:
        api.call("POST", comments.listed, {comments.text: text})
    for number in mine[1:]:
        api.call("DELETE", f"{comments.each}/{number}")


def _issue(api: Api, text: str, verdict: str) -> None:
    issues = api.issues
    mine = _mine(api, issues, text)
    for number in mine[1:] if verdict != "nothing" else mine:
        api.call(api.changing, f"{issues.each}/{number}", api.closing)
    if verdict != "nothing":
        headline = next(line for line in text.splitlines() if line.startswith("### "))
        fields = {"title": f"Drift: {headline.removeprefix('### ').replace('`', '')}"[:250], issues.text: text}
        if mine:
            api.call(api.changing, f"{issues.each}/{mine[0]}", fields)
        else:
            api.call("POST", issues.each, fields)


def _mine(api: Api, texts: Texts, text: str) -> list[int]:
    """The numbers of this workflow's texts about the same stack."""
    marker = text.partition("\n")[0]
    if not _MARKER.fullmatch(marker):
        raise ValueError("the file is not a review: its first line names no stack")
    found = [entry for entry in api.all(texts.listed) if api.is_mine(entry)]
    return [
        int(entry[texts.number]) for entry in found if (entry[texts.text] or "").partition("\n")[0].strip() == marker
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
