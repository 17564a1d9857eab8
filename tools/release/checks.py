"""What must hold before a version is released. Every failure says what to do."""

from __future__ import annotations

import re
from pathlib import Path

from tools.base import ToolError
from tools.release.source import PROJECT, git, version_in

CHANGELOG = "CHANGELOG.md"
SNAPSHOTS = "tests/snapshots/releases"
"""Folder below which each version has the resources that its programs registered."""
_HEADING = re.compile(r"(?m)^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2}|unreleased)$")


def sections(changelog: str) -> dict[str, tuple[str, str]]:
    """Version -> its date (or `unreleased`) and its text, newest first."""
    found = list(_HEADING.finditer(changelog))
    ends = [*(each.start() for each in found), len(changelog)][1:]
    return {each[1]: (each[2], changelog[each.end() : end].strip()) for each, end in zip(found, ends, strict=True)}


def released(changelog: str) -> list[str]:
    """The versions with a date in CHANGELOG.md, newest first."""
    return [version for version, (date, _) in sections(changelog).items() if date != "unreleased"]


def check(repository: Path, tag: str) -> None:
    """Check that this checkout can be released under the tag.

    Raises:
        ToolError: it cannot, with every reason.
    """
    problems = [*_tag(repository, tag), *_changelog(repository, tag), *_snapshots(repository)]
    if problems:
        raise ToolError("\n".join([f"{tag} cannot be released:", *(f"  {each}" for each in problems)]))


def _tag(repository: Path, tag: str) -> list[str]:
    version = version_in((repository / PROJECT).read_text())
    if tag != f"v{version}":
        return [
            f"{PROJECT} has the version {version}, and the tag must be v{version}. "
            f"Release v{version}, or change the version in {PROJECT}, commit, and tag that commit."
        ]
    problems = []
    if not git(repository, "tag", "--list", tag):
        problems.append(f"There is no tag {tag}. Commit everything, then run: git tag -a {tag} -m {tag}")
    elif git(repository, "rev-parse", f"refs/tags/{tag}^{{commit}}") != git(repository, "rev-parse", "HEAD"):
        problems.append(f"The checkout is another commit than {tag}. Run: git checkout {tag}")
    if changed := git(repository, "status", "--porcelain"):
        names = ", ".join(line[3:] for line in changed.splitlines()[:5])
        problems.append(f"The working tree has changes ({names}). Commit, stash or remove them.")
    return problems


def _changelog(repository: Path, tag: str) -> list[str]:
    version = tag.removeprefix("v")
    date, text = sections((repository / CHANGELOG).read_text()).get(version, ("", ""))
    if not date:
        return [f"{CHANGELOG} has no section for it. Add the heading `## {version} - YYYY-MM-DD` and what changed."]
    problems = []
    if date == "unreleased":
        problems.append(f"{CHANGELOG} says `{version} - unreleased`. Put the date there, as YYYY-MM-DD.")
    if not text:
        problems.append(f"The section of {version} in {CHANGELOG} is empty. List what changed.")
    return problems


def _snapshots(repository: Path) -> list[str]:
    """The resources of each released version are on record, and the record is the one of its tag."""
    problems = []
    current = version_in((repository / PROJECT).read_text())
    for version in {current: None, **dict.fromkeys(released((repository / CHANGELOG).read_text()))}:
        folder = f"{SNAPSHOTS}/{version}"
        if not list((repository / folder).glob("*.json")):
            problems.append(
                f"{folder} is missing: the resources of {version}, which later versions must still have. Run: "
                "UPDATE_SNAPSHOTS=1 .venv/bin/python -m pytest -n0 tests/components/test_upgrades_between_releases.py"
            )
        if version == current:
            continue
        if not git(repository, "tag", "--list", f"v{version}"):
            problems.append(
                f"{CHANGELOG} has {version} as released, but this clone has no tag v{version}. "
                "Run: git fetch --tags, with --unshallow in a shallow clone"
            )
        elif changed := git(repository, "diff", "--name-only", f"v{version}", "HEAD", "--", folder):
            problems.append(
                f"{', '.join(changed.split())} changed after {version} was released. States of {version} exist, and "
                f"nothing can change what is in them. Run: git checkout v{version} -- {folder}"
            )
    return problems
