"""Runs the manual's lines on a test's machines, and compares its previews with real ones."""

import re
from collections import Counter
from collections.abc import Sequence

from lab import Machine

from .stacks import REPO, Run, Stack

# Without a terminal, a replacement has more lines, `++` and `--`.
_STEP = re.compile(r"^ *(?:\+-|[+~-]) +(?P<type>\S+:\S+:\S+) .*")
_ANNOUNCED = re.compile(r"^ +\d+\. .*\[.*\]$")


def _section(title: str, document: str) -> str:
    """The text below a title of a file in docs, up to the next title of the same or a higher level."""
    text = (REPO / "docs" / document).read_text()
    found = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert found is not None, f"docs/{document} has no title {title!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{2,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def _blocks(title: str, language: str, document: str = "operations.md") -> list[list[str]]:
    text = _section(title, document)
    return [block.splitlines() for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def manual_lines(section: str, number: int = 0, document: str = "operations.md", language: str = "sh") -> str:
    """A block in a section of a file in docs, by default the first shell block of docs/operations.md."""
    return "\n".join(_blocks(section, language, document)[number])


def kubernetes_manual(section: str, number: int, language: str = "sh") -> str:
    """A block of a language in a section of docs/kubernetes.md. A unit test finds the blocks that no test asks for."""
    return "\n".join(_blocks(section, language, "kubernetes.md")[number])


def manual(section: str, machines: Sequence[Machine]) -> str:
    """The first shell block in a section of docs/operations.md, for these machines instead of the example's.

    Args:
        machines: the machines that the lines use; the first one replaces a single machine of the example.
    """
    lines = manual_lines(section)
    endpoints = ",".join(f"https://{machine.address}:2379" for machine in machines)
    lines = re.sub(r"--endpoints=\S+", f"--endpoints={endpoints}", lines)
    lines = re.sub(r"(?m)^NAME=\S+ ADDRESS=\S+", f"NAME={machines[0].name} ADDRESS={machines[0].address}", lines)
    return f"set -e\n{lines}"


def assert_as_in_the_manual(stack: Stack, section: str, shown_by: Run | None = None) -> None:
    """Fail unless `pulumi preview` shows for the last edit what the section says.

    It compares all steps (those of keys and certificates are optional), the resource counts, the announced plan, the
    refusal, and each line of a detailed diff.

    Args:
        stack: three members with the names of the manual, with the edit.
        shown_by: the run to compare. Default: `pulumi preview`, run here.
    """
    compared = 0
    preview = shown_by or stack.preview(check=False)
    shown = preview.text.splitlines()
    for block in _blocks(section, "text"):
        if block[0].startswith("etcd-node: ") or ("error: " in block[0]) != (preview.code != 0):
            continue  # the output of a machine, or the preview of another edit
        if any(_STEP.match(line) for line in block):
            assert _steps(block) == _steps(shown), _help(section, block, shown)
            _assert_in(block, shown, section)
        elif any(_ANNOUNCED.match(line) for line in block):
            assert [line for line in block if _ANNOUNCED.match(line)] == list(filter(_ANNOUNCED.match, shown))
        elif "error: " in block[0]:
            _assert_in(block, shown, section)
        else:
            _assert_in(block, stack.preview("--diff").text.splitlines(), section)
        compared += 1
    assert compared, f"{section!r} shows no preview"


def _steps(lines: Sequence[str]) -> Counter[str]:
    """The steps that the manual must show; a preview's order of parallel members varies."""
    found = [match for line in lines if (match := _STEP.match(line))]
    return Counter(_plain(match[0]) for match in found if not match["type"].startswith(("tls:", "pulumi:pulumi:Stack")))


def _assert_in(block: Sequence[str], shown: Sequence[str], section: str) -> None:
    there = {_plain(line) for line in shown}
    missing = [line for line in block if line.strip() != "..." and _plain(line) not in there]
    assert not missing, _help(section, missing, shown)


def _plain(line: str) -> str:
    """Without what differs from run to run: spaces, and the name of an override."""
    return re.sub(r"allow-[0-9a-f]{12}", "allow-...", " ".join(line.split()))


def _help(section: str, documented: Sequence[str], shown: Sequence[str]) -> str:
    return "\n".join([f"docs/operations.md, {section!r}, says", *documented, "and `pulumi preview` shows", *shown])
