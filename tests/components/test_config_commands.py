"""Every `pulumi config set` of the documents, run by the real CLI: the program then finds the key where it reads it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.commands import DOCUMENTS, blocks, commands, spans
from tests.support.stacks import REPO, Stacks

GIVEN = "given-on-standard-input"


def _documented() -> set[tuple[str, ...]]:
    shown = [block for document in DOCUMENTS for block in blocks(document)]
    # The example is a program of its own.
    lines = [each.text for each in shown if each.language in ("sh", "console") and "cd examples/" not in each.text]
    lines += [span for document in DOCUMENTS for span in spans((REPO / document).read_text())]
    found = {tuple(words) for line in lines for words in commands(line)}
    return {words for words in found if words[:3] == ("pulumi", "config", "set") and len(words) > 3}


def _value(config: Any, path: str) -> Any:
    """What is at `authorities[0].privateKey`."""
    first, *rest = re.findall(r"[^.\[\]]+", path)
    found = config[first if ":" in first else f"external-etcd:{first}"]
    for part in rest:
        found = found[int(part) if part.isdigit() else part]
    return found


def test_the_documented_commands_set_what_the_program_reads(tmp_path: Path) -> None:
    stack = Stacks(tmp_path).new([])
    file = stack.directory / f"Pulumi.{stack.directory.name}.yaml"
    documented = _documented()
    assert len(documented) > 8
    for words in sorted(documented):
        subprocess.run(
            stack.command(*words[1:]),
            cwd=stack.directory,
            env=stack.environ,
            input=GIVEN,
            text=True,
            timeout=60,
            check=True,
        )
        key, *values = [word for word in words[3:] if not word.startswith("--")]
        found = _value(yaml.safe_load(file.read_text())["config"], key)
        if "--secret" in words:
            assert list(found) == ["secure"], words
        else:
            # The CLI writes numbers and truth values as such.
            assert found in (values[0], yaml.safe_load(values[0])), words
    assert GIVEN not in file.read_text()
