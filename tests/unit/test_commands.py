"""Commands and configurations in documents and messages: what they name exists, and each block of commands is run.

test_kubernetes_manual.py has more for docs/kubernetes.md.
"""

import ast
import importlib
import inspect
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.keys import table
from stacks.platforms import PLATFORMS
from tests.support.commands import DOCUMENTS, UNKNOWN, Block, blocks, commands, problem, spans
from tests.support.configurations import example, load
from tests.support.manual import kubernetes_manual, manual, manual_lines
from tests.support.sshd import new_key
from tests.support.stacks import REPO

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
SHELL = [block for block in BLOCKS if block.language in ("sh", "console")]
KEYS = table(PLATFORMS).by_path
NOT_RUN = "# not run by a test: "
READERS: dict[str, Callable[..., str]] = {
    "manual": manual,
    "manual_lines": manual_lines,
    "kubernetes_manual": kubernetes_manual,
}

CLOUDS = "tests/clouds/test_stack.py"
# Blocks that no test reads from the document: the test that runs the same commands, or why none does. A document alone
# stands for all its blocks.
RUN_BY: dict[tuple[str, str, int] | str, str] = {
    "docs/policy.md": "tests/components/test_policy_pack.py",
    "docs/releasing.md": "tests/components/test_release.py",
    ("README.md", "Try it", 0): "tests/lab/test_make_up.py",
    ("README.md", "Try it", 1): "tests/lab/test_kubernetes.py",
    ("README.md", "Use your own machines", 0): "tests/lab/test_bootstrap.py; `pulumi install` needs a package index",
    ("README.md", "What comes out", 0): "tests/lab/test_kubernetes.py",
    ("README.md", "Use it as a library", 0): "tests/components/test_wheel.py",
    "CONTRIBUTING.md": "they run this test",
    "tests/README.md": "they run this test",
    ("lab/README.md", "The lab", 0): "tests/lab/test_lab_machines.py",
    ("lab/README.md", "Kubernetes", 0): "tests/lab/test_kubernetes.py",
    ("lab/README.md", "Emulated clouds: Hetzner", 0): "tests/clouds/test_emulators_lab.py",
    ("lab/README.md", "Emulated clouds: AWS", 0): "tests/clouds/test_emulators_lab.py",
    ("docs/aws.md", "AWS", 0): CLOUDS,
    ("docs/aws.md", "Taking everything down", 0): CLOUDS,
    ("docs/backups.md", "Snapshots that are kept elsewhere", 0): "tests/lab/test_backups.py",
    ("docs/backups.md", "Snapshots that are kept elsewhere", 1): "tests/components/test_config_commands.py",
    ("docs/backups.md", "Other places", 0): "tests/components/test_config_commands.py",
    ("docs/backups.md", "Watch it", 0): "tests/lab/test_drill.py",
    ("docs/backups.md", "Read a snapshot", 0): "tests/lab/test_backups.py",
    ("docs/backups.md", "Restore from nothing", 0): "tests/lab/test_restore_from_the_store.py",
    ("docs/benchmarks.md", "Benchmarks", 0): "it measures for an hour",
    ("docs/hetzner.md", "Hetzner Cloud", 0): CLOUDS,
    ("docs/hetzner.md", "Snapshots in Object Storage", 0): "tests/components/test_config_commands.py",
    ("docs/hetzner.md", "Taking everything down", 0): CLOUDS,
    ("docs/kubelet.md", "From a registry", 0): "it needs Docker; tests/lab/test_kubelet_image.py sets the same keys",
    ("docs/kubelet.md", "As an archive", 0): "it needs Docker; tests/lab/test_kubelet_image.py uses such an archive",
    "docs/alerts.md": "a person reads what they print, and decides",
    ("docs/monitoring.md", "What etcd does not know", 0): "tests/lab/test_authentication.py",
    ("docs/monitoring.md", "The dashboard", 0): "tests/lab/test_authentication.py",
    ("docs/monitoring.md", "Prometheus on a host", 0): "tests/unit/test_monitoring_outputs.py",
    ("docs/monitoring.md", "Prometheus on a host", 1): "tests/unit/test_monitoring_outputs.py",
    ("docs/monitoring.md", "The Prometheus Operator", 0): "tests/lab/test_kubernetes.py",
    ("docs/operations.md", "A lost machine or disk", 0): "tests/lab/test_failed_upgrade.py",
    ("docs/operations.md", "Hand a cluster over to `hosts`", 1): "tests/clouds/test_two_clusters.py",
    ("docs/operations.md", "Users with limited access (etcd's authentication)", 0): "tests/lab/test_authentication.py",
    ("docs/package.md", "external-etcd", 0): "it needs a release",
    ("docs/restore.md", "From the store", 0): "tests/lab/test_restore_from_the_store.py",
    ("docs/review.md", "Review a change before it is made", 0): "tests/components/test_review.py",
    ("docs/review.md", "Where nothing draws the picture", 0): "tests/components/test_review.py",
}


def _read_by_tests() -> Iterator[tuple[str, str, int]]:
    """The blocks of commands for which tests ask, as constants."""
    for path in (REPO / "tests").rglob("test_*.py"):
        text = path.read_text()
        for call in ast.walk(ast.parse(text if "manual" in text else "")):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in READERS:
                options = {each.arg: _constant(each.value) for each in call.keywords if each.arg}
                given = inspect.signature(READERS[call.func.id]).bind(*map(_constant, call.args), **options)
                given.apply_defaults()
                default = "kubernetes.md" if call.func.id == "kubernetes_manual" else "operations.md"
                if given.arguments.get("language", "sh") == "sh":
                    document = given.arguments.get("document", default)
                    yield f"docs/{document}", given.arguments["section"], given.arguments.get("number", 0)


def _constant(node: ast.expr) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def _commands_of(block: Block) -> Iterator[list[str]]:
    for words in commands(block.text):
        # The example has keys of its own, which test_kubernetes_manual.py compares with its program.
        if not (words[:2] == ["pulumi", "config"] and "cd examples/" in block.text):
            yield words


def _in_documents() -> Iterator[tuple[str, list[str]]]:
    for block in SHELL:
        yield from ((f"{block.document}, {block.section!r}", words) for words in _commands_of(block))
    for document in DOCUMENTS:
        for span in spans((REPO / document).read_text()):
            yield from ((document, words) for words in commands(span))


def _texts(source: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(each.value) if isinstance(each, ast.Constant) else UNKNOWN for each in node.values),
            )


def _in_messages() -> Iterator[tuple[str, list[str]]]:
    for folder in ("components", "stacks", "lab", "tools"):
        for source in (REPO / folder).rglob("*.py"):
            for line, text in _texts(source):
                for span in spans(text):
                    yield from ((f"{source.relative_to(REPO)}:{line}", words) for words in commands(span))


def test_what_the_commands_in_documents_name_exists() -> None:
    found = list(_in_documents())
    assert {words[0] for _, words in found} == {"etcd-node", "external-etcd", "make", "pulumi", "python"}
    assert len(found) > 350
    assert [(where, words, wrong) for where, words in found if (wrong := problem(words))] == []


def test_what_the_commands_in_messages_name_exists() -> None:
    found = list(_in_messages())
    assert len(found) > 150
    assert [(where, words, wrong) for where, words in found if (wrong := problem(words))] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("make sites", "no target sites"),
        ("sudo etcd-node states", "no verb states"),
        ("etcd-node defragment --later # now", "no option --later"),
        ("external-etcd revue preview.json", "invalid choice: 'revue'"),
        ("external-etcd review p.json --fail-at restart", "no option --fail-at"),
        ("python3 -m lab kubernetes up --inside", "no option --inside"),
        ("if true; then .venv/bin/python -m tests tests/lab/test_sizes.py; fi", "there is no tests/lab/test_sizes.py"),
        ("python3 -m stacks.references", "no module stacks.references"),
        ("python3 -m tools nothing", "invalid choice: 'nothing'"),
        ("cat x | pulumi stack outputs", "pulumi stack has no command outputs"),
        ("X=1 pulumi up \\\n  --targets x", "pulumi up has no option --targets"),
        ("y=$(pulumi stack output kubeadmin)", "no output kubeadmin"),
        ("pulumi config set external-etcd:versions 3.6.16", "no key versions"),
        ("pulumi config set --path backup.s3.secretAccessKey x", "backup.s3.secretAccessKey is secret: --secret"),
        ("pulumi config set --secret 'authorities[1].privateKey' < FILE", "is a path: --path"),
    ],
)
def test_a_command_that_names_something_else_is_noticed(line: str, wrong: str) -> None:
    [words] = commands(line)
    assert wrong in problem(words)


def test_a_test_runs_every_block_of_commands_or_it_says_why_not() -> None:
    """A new block is read by a test (tests/support/manual.py), says why not in its first line, or is in RUN_BY."""
    all_blocks = {block[:3]: block.text for block in SHELL}
    read = {*_read_by_tests()} & all_blocks.keys()
    says = {place for place, text in all_blocks.items() if text.startswith(NOT_RUN)}
    assert len(read) > 20
    known = {place for place in all_blocks if {place, place[0]} & RUN_BY.keys()}
    assert RUN_BY.keys() - {each for place in all_blocks for each in (place, place[0])} == set(), "they do not exist"
    assert RUN_BY.keys() & (read | says) == set(), "these blocks need no entry"
    assert all_blocks.keys() - read - says - known == set(), "these blocks are in no class"
    named = re.findall(r"tests/\S+\.py", " ".join(RUN_BY.values()))
    assert [path for path in named if not (REPO / path).exists()] == []


def test_a_shell_can_parse_every_block_of_commands() -> None:
    for block in SHELL:
        lines = block.text if block.language == "sh" else "\n".join(re.findall(r"^\$ (.*)", block.text, re.MULTILINE))
        parsed = subprocess.run(["bash", "-n"], input=lines, text=True, timeout=10, check=False, capture_output=True)
        assert parsed.returncode == 0, f"{block.document}, {block.section!r}: {parsed.stderr}"


def _configurations() -> Iterator[tuple[Block, dict[str, Any]]]:
    for block in BLOCKS:
        if block.language == "yaml" and "external-etcd:" in block.text:
            shown = yaml.safe_load(block.text)
            shown = shown.get("config", shown)
            own = {name.removeprefix("external-etcd:"): shown[name] for name in shown if "external-etcd:" in name}
            if own:
                yield block, own


def _paths(value: Any, prefix: str) -> Iterator[str]:
    yield prefix
    if isinstance(value, dict) and set(value) != {"secure"} and KEYS[prefix].type != "map of texts":
        for name, below in value.items():
            yield from _paths(below, f"{prefix}.{name}")
    for each in value if isinstance(value, list) else ():
        for name, below in each.items() if isinstance(each, dict) else ():
            yield from _paths(below, f"{prefix}[].{name}")


def test_every_key_in_a_shown_configuration_exists() -> None:
    shown = list(_configurations())
    assert len(shown) > 25
    for block, values in shown:
        missing = [path for name, value in values.items() for path in _paths(value, name) if path not in KEYS]
        assert missing == [], f"{block.document}, {block.section!r}"


def test_every_shown_configuration_without_a_gap_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is an edit of the README's stack, or of the example of its cloud."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh" / "etcd_ed25519"
    key.write_text(new_key()[0])
    key.chmod(0o600)
    shown = list(_configurations())
    (whole,) = [values for block, values in shown if block.document == "README.md"]
    complete = [(block, values) for block, values in shown if "..." not in block.text]
    assert len(complete) > 20
    for block, values in complete:
        cloud = next((name for name in ("aws", "hetzner") if name in values), "")
        stack = example(cloud) | values | {cloud: example(cloud)[cloud] | values[cloud]} if cloud else whole | values
        if "ssh" in stack.get("backup", {}):
            stack["backup"]["ssh"]["privateKey"] = key.read_text()  # the command below it sets it
        assert load(stack, stack="production", region="eu-central-1"), f"{block.document}, {block.section!r}"


def test_every_shown_program_can_be_parsed_and_imports_what_exists() -> None:
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block.text)) if block.language == "python" else ():
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module.replace("external_etcd", "components"))
                assert [each.name for each in node.names if not hasattr(module, each.name)] == [], block.document


def test_every_other_shown_file_can_be_parsed() -> None:
    parsers: dict[str, Callable[[str], object]] = {
        "json": json.loads,
        "toml": tomllib.loads,
        "yaml": lambda text: list(yaml.safe_load_all(text)),
    }
    for block in BLOCKS:
        parsers.get(block.language, str)(block.text)
