"""`python3 -m tools.site`: builds the documents as a site that needs no server. Broken links and anchors are errors."""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tools.base import REPOSITORY, ToolError, say, scratch
from tools.python import ensure_docs

BUILD_LIMIT = 300.0  # seconds
CONFIGURATION = REPOSITORY / "docs" / "site"
INDEX = "docs/decisions"
"""This folder has no page of its own. On the site it gets one, with the titles of its pages."""

_PAGES = ("*.md", "docs/**/*.md", "examples/**/*.md", "lab/*.md", "plugin/**/*.md", "policy/**/*.md", "tests/*.md")
_PICTURES = ("docs/**/*.svg", "docs/**/*.png")
_ELSEWHERE = ("docs/package.md",)  # the description on a package index
_FENCE = re.compile(r"^ *(?P<fence>`{3,}|~{3,})(?P<language>\w*)")
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def pages(repository: Path) -> list[str]:
    """Paths of all documents of the site, relative to the repository."""
    found = {path.relative_to(repository).as_posix() for pattern in _PAGES for path in repository.glob(pattern)}
    return sorted(found - {*_ELSEWHERE})


def for_the_site(text: str, page: str, elsewhere: Callable[[str], bool], code: str) -> str:
    """A document as it is on the site: links to the repository's other files lead to `code`, or become text.

    Args:
        text: Markdown.
        page: its path in the repository.
        elsewhere: whether the file with this path is in the repository, and not on the site.
        code: address of the repository's files, with no slash at its end. Empty: such links become text.

    Raises:
        ToolError: a block that the site cannot show.
    """

    def link(found: re.Match[str]) -> str:
        target, _, anchor = found["target"].partition("#")
        if not target or ":" in target:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if path == INDEX:
            index = posixpath.relpath(f"{INDEX}/README.md", posixpath.dirname(page) or ".")
            return f"[{found['text']}]({index})"
        if not elsewhere(path):
            return found[0]
        return f"[{found['text']}]({code}/{path}{anchor and '#'}{anchor})" if code else found["text"]

    lines = []
    for line, language in _with_language(text):
        if language == "mermaid":
            raise ToolError(
                f"{page} has a mermaid block. The site fetches nothing from elsewhere, so it cannot draw it. "
                "Draw it as SVG, or show it as an example inside ````markdown."
            )
        lines.append(line if language is not None else _LINK.sub(link, line))
    return "\n".join(lines)


def _with_language(text: str) -> Iterator[tuple[str, str | None]]:
    """Each line with the language of its fenced block; None outside of blocks."""
    fence, language = "", ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not fence and found:
            fence, language = found["fence"], found["language"]
            yield line, language
        else:
            yield line, language if fence else None
            if fence and found and found["fence"].startswith(fence) and line.strip() == found["fence"]:
                fence = ""


def build(output: Path, code: str = "") -> None:
    """Build the site.

    Args:
        output: its folder, which is emptied first.
        code: as for `for_the_site`.

    Raises:
        ToolError: the folder has something else than an earlier site; MkDocs is not available, or a document has a
            broken link or anchor or is not in the navigation.
    """
    if output.exists() and not _may_be_emptied(output):
        raise ToolError(f"{output} has other files, and all in it would be deleted. Name an empty or a new folder")
    python = ensure_docs()
    started = time.monotonic()
    with scratch() as folder:
        _lay_out(folder / "pages", code.rstrip("/"))
        shutil.copy(CONFIGURATION / "mkdocs.yml", folder)
        try:
            done = subprocess.run(
                [python, "-m", "mkdocs", "build", "--strict", "--site-dir", output.resolve()],
                cwd=folder,
                env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=BUILD_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"mkdocs took more than {BUILD_LIMIT:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("INFO")]
        raise ToolError("the site has errors; a new page must be in docs/site/mkdocs.yml:\n" + "\n".join(lines))
    say(f"{output / 'index.html'}: {time.monotonic() - started:.0f} s")


def _may_be_emptied(output: Path) -> bool:
    return output.is_dir() and ((output / "search" / "search_index.js").exists() or not any(output.iterdir()))


def _lay_out(target: Path, code: str) -> None:
    documents = pages(REPOSITORY)
    pictures = {path.relative_to(REPOSITORY).as_posix() for pattern in _PICTURES for path in REPOSITORY.glob(pattern)}
    there = {*documents, *pictures}

    def elsewhere(path: str) -> bool:
        # MkDocs reports a link to what does not exist at all.
        return path not in there and (REPOSITORY / path).exists()

    for page in documents:
        text = for_the_site((REPOSITORY / page).read_text(encoding="utf-8"), page, elsewhere, code)
        _write(target / page, text)
    for picture in pictures:
        (target / picture).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / picture, target / picture)
    _write(target / INDEX / "README.md", _index([page for page in documents if posixpath.dirname(page) == INDEX]))
    for extra in (*CONFIGURATION.glob("*.css"), *CONFIGURATION.glob("*.js")):
        shutil.copy(extra, target)


def _index(documents: Sequence[str]) -> str:
    """A page with the title of each decision, and its question."""
    lines = ["# Decisions", ""]
    for page in documents:
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        question = re.search(r"^\*\*Question\.\*\* (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        title = text.partition("\n")[0].removeprefix("# ")
        asked = f". {' '.join(question[1].split())}" if question else ""
        lines.append(f"- [{title}]({posixpath.basename(page)}){asked}")
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.site", description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "site", help="folder; it is emptied")
    parser.add_argument(
        "--code",
        default="",
        metavar="URL",
        help="address of the repository's files, such as https://example.com/external-etcd/blob/main; "
        "without it, links to code are plain text",
    )
    chosen = parser.parse_args(arguments)
    try:
        build(chosen.output, chosen.code)
    except ToolError as error:
        print(f"tools.site: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
