"""Every section of the manual about a change has a reviewed comment, and every figure in a comment is in the manual."""

import re
from typing import Final

import pytest

from components.review import measured
from components.review.measured import Noticed
from tests.support.snapshot import DIRECTORY
from tests.support.stacks import REPO

NO_CHANGE = "It has no edit of the configuration"
SECTIONS: Final[dict[str, tuple[str, ...] | str]] = {
    "Rules for every change": NO_CHANGE,
    "What the preview shows": (
        "a version",
        "a skipped version",
        "nothing",
        "a wrong configuration",
        "a preview that failed",
    ),
    "Change a setting": ("a setting",),
    "The database is full (alarm NOSPACE)": ("defragmentation",),
    "Free space in the database (defragmentation)": ("defragmentation",),
    "Data corruption (alarm CORRUPT)": ("another machine",),
    "What others have changed on a machine (drift)": ("a look for drift", "drift"),
    "Slow disks and links": ("a setting of slow machines", "growth"),
    "A lost machine or disk": ("another machine", "another machine and a setting"),
    "Replace a machine in a cloud": ("a raised generation", "two raised generations"),
    "A majority was lost": ("a restore", "a restore of a file", "another machine"),
    "Change the version": ("a version", "a skipped version", "one of two clusters", "two clusters"),
    "Downgrade": ("a downgrade",),
    "More members": ("growth",),
    "Replace a member with one of another name": ("an exchange",),
    "Fewer members": ("fewer members", "a slot that leaves a cloud"),
    "Renew certificates": ("renewed certificates",),
    "Certificates that have expired": ("renewed certificates",),
    "Replace the CA": ("a second CA",),
    "1. Trust both": ("a second CA",),
    "2. The new one issues": ("a CA that issues",),
    "3. Drop the old one": ("a CA that is dropped",),
    "What holds for all three": NO_CHANGE,
    "To your own CA, or back to a created one": ("a second CA",),
    "A separate CA for peers": ("a second CA of peers",),
    "A leaked CA or key": ("a second CA", "a CA that issues", "a CA that is dropped"),
    "To other machines, another network or platform": ("another network", "an exchange"),
    "Hand a cluster over to `hosts`": ("a new cluster",),
    "To a new cluster, with the data of another": ("a new cluster", "growth"),
    "Filter access to etcd on existing machines": ("a firewall",),
    "Logins and keys": ("another login", "another operator"),
    "Users with limited access (etcd's authentication)": ("a user", "a user that is removed"),
    "Take the cluster down": ("a destroy",),
}
"""Section of docs/operations.md -> its reviewed comments, or why it has none."""
OTHERS = {
    "docs/migration.md": (
        *("migration join", "migration switch", "migration leave", "migration done", "migration back"),
        *("migration a skipped phase", "migration no way back"),
    ),
    "docs/restore.md": ("a restore that is complete", "a restore that is removed"),
    "docs/backups.md": ("another place for snapshots", "no more snapshots"),
    "docs/kubelet.md": ("another service manager",),
}
"""Reviewed comments on what other pages describe."""
FACTS = {name: fact for name, fact in vars(measured).items() if isinstance(fact, Noticed)}


def test_every_section_of_the_manual_has_a_reviewed_comment_or_a_reason() -> None:
    titles = re.findall(r"^###? (.+)$", (REPO / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert list(SECTIONS) == titles


def test_every_reviewed_comment_belongs_to_a_section_and_exists() -> None:
    named = {each for found in (*SECTIONS.values(), *OTHERS.values()) if isinstance(found, tuple) for each in found}
    there = {path.stem.replace("-", " ") for path in (DIRECTORY / "review").glob("*.md")}
    assert named == there


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS)
def test_every_figure_in_a_comment_is_in_the_section_that_it_names(fact: Noticed) -> None:
    sections = [section_of(page, title) for page, title in fact.sources]
    assert sections
    for figure in re.findall(r"\d[\d.]* (?:ms|s|to \d+ s|MiB|GiB)\b", fact.text):
        assert any(re.search(rf"(?<![\d.]){re.escape(figure)}\b", each) for each in sections), figure
    held = "below one second" in fact.text
    assert held == (("docs/safety.md", "Later runs") in fact.sources)


def test_the_tests_hold_the_second_that_a_comment_names() -> None:
    held = section_of("docs/safety.md", "Later runs")
    assert "the longest gap between two acknowledgements is below one second" in held
    assert re.search(r"^GAP_SECONDS = 1(\.0)?$", (REPO / "tests/support/prober.py").read_text(), re.MULTILINE)


def test_the_comment_on_a_version_answers_what_a_reviewer_asks_in_half_a_minute() -> None:
    comment = (DIRECTORY / "review" / "a-version.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", comment, re.MULTILINE))
    assert "3. `etcd-3`" in rows["Restarts"], "which member restarts third"
    (running,) = re.findall(r'"\d+ · etcd-3 restarts: .+<br/>([●○]+) (.+)"', comment)
    assert running == ("●●○", "tolerates no further failure"), "what runs then"
    assert "2 of 3 voters running (a quorum is 2)" in rows["Quorum at worst"]
    assert rows["Way back"].startswith("Set the old version and run `pulumi up`, also in the middle.")
    assert rows["Cannot be undone"] == "nothing"
    # Some 240 words are read in a minute.
    assert len(re.findall(r"[\w.`/-]+", " ".join([*rows, *rows.values()]))) < 130


def section_of(page: str, title: str) -> str:
    """The text of a section, without that of the next one of the same or a higher level."""
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^##? |\Z)", (REPO / page).read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, (page, title)
    return found[2]
