"""The commands of this project and of Pulumi in documents and messages, and whether what they name exists."""

import contextlib
import functools
import importlib
import importlib.util
import io
import json
import re
import shlex
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from components.node import cli as node
from lab import cli as lab
from stacks.key_table import MAP
from stacks.keys import table
from stacks.platforms import PLATFORMS
from tools import __main__ as tools
from tools import site
from tools.pulumi import ensure_pulumi

from .snapshot import DIRECTORY
from .stacks import REPO

DOCUMENTS = [*site.pages(REPO), "docs/package.md"]
PROGRAMS = {"etcd-node", "external-etcd", "make", "pulumi"}
UNKNOWN = "…"
"""Stands for a value that a message fills in."""

_PIECE = re.compile(
    r"^ *(?P<fence>`{3,})(?P<language>\w*)\n(?P<text>.*?)^ *(?P=fence)$|^#+ (?P<title>[^\n]*)", re.M | re.S
)
_SPAN = re.compile(r"`([^`\n]+)`")
_SEPARATORS = "();<>|&\n"
_COMMENT = re.compile(r"(^|\s)#(\s.*|$)", re.MULTILINE)
_TABLE = table(PLATFORMS)
_OUTPUTS = {
    *re.findall(r"\"(\w+)\":", (REPO / "stacks" / "outputs.py").read_text()),
    *(
        name
        for platform in PLATFORMS
        for name in json.loads((DIRECTORY / f"outputs-{platform.name}.json").read_text())["outputs"]
    ),
}


class Block(NamedTuple):
    """A fenced block of a document."""

    document: str
    section: str
    number: int
    """Of its language in its section."""
    language: str
    text: str


def blocks(document: str) -> Iterator[Block]:
    """All blocks of a document, with its path in the repository."""
    title, counted = "", Counter[tuple[str, str]]()
    for found in _PIECE.finditer((REPO / document).read_text()):
        if found["title"]:
            title = found["title"]
            continue
        place = (title, found["language"])
        yield Block(document, title, counted[place], found["language"], found["text"])
        counted[place] += 1


def spans(text: str) -> Iterator[str]:
    """The inline code of Markdown, or of a message, that begins with one of PROGRAMS or runs one."""
    programs = re.compile(rf"\b({'|'.join(PROGRAMS)}|python3?) ")
    return (span for span in _SPAN.findall(_PIECE.sub("", text)) if programs.search(span))


def commands(shell: str) -> list[list[str]]:
    """The words of each command of PROGRAMS, and of each `python -m`, in lines of a shell."""
    lexer = shlex.shlex(_COMMENT.sub(r"\1", shell.replace("\\\n", " ")), posix=True, punctuation_chars=_SEPARATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    found: list[list[str]] = []
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if token.strip(_SEPARATORS):
            words.append(token)
            continue
        found += _command(words)
        words = []
    return found


def _command(words: Sequence[str]) -> list[list[str]]:
    for place, word in enumerate(words):
        python = re.fullmatch(r"(\S*/)?python3?", word) and words[place + 1 : place + 2] == ["-m"]
        if (word in PROGRAMS or python) and len(words) > place + 1:
            return [["python", *words[place + 2 :]] if python else list(words[place:])]
        # `sudo`, `env -u NAME`, `NAME=value`, `then`, the prompt
        if not re.fullmatch(r"sudo|env|do|then|if|until|while|!|\$|-\S+|[A-Z_]+|\w+=.*", word):
            break
    return []


def problem(words: Sequence[str]) -> str:
    """What a command names that does not exist; empty: nothing."""
    program, *rest = words
    for word in rest:
        if re.match(r"(docs|examples|tests)/", word) and not (REPO / word).exists():
            return f"there is no {word}"
    return _CHECKS[program](rest)


def _make(words: Sequence[str]) -> str:
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    return next((f"no target {word}" for word in words if "=" not in word and word not in targets), "")


def _node(words: Sequence[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        node.main(["help"])
    known: dict[str, set[str]] = {}
    for verb, usage in re.findall(r"^  etcd-node (\S+)(.*)", said.getvalue(), re.MULTILINE):
        known.setdefault(verb, {"--answer"}).update(re.findall(r"--[\w-]+", usage))
    verb, *options = words
    if verb in ("help", UNKNOWN):
        return ""
    if verb not in known:
        return f"no verb {verb}"
    return next((f"no option {word}" for word in options if word.startswith("-") and word not in known[verb]), "")


def _console(words: Sequence[str]) -> str:
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["external-etcd"].partition(":")
    return _parsed(getattr(importlib.import_module(_here(module)), name), words)


def _here(module: str) -> str:
    """The wheel installs `components` as external_etcd."""
    return re.sub(r"^external_etcd\b", "components", module)


def _python(words: Sequence[str]) -> str:
    module, *rest = words
    module = _here(module)
    if module in ("components.review",):
        return _console(["review", *rest])
    if module in _MAINS:
        return _parsed(_MAINS[module], rest)
    spec = importlib.util.find_spec(module)
    return "" if spec is not None else f"no module {module}"


def _parsed(main: Callable[[list[str]], Any], words: Sequence[str]) -> str:
    """Whether an argparse program knows these words, from its help for them."""
    words = list(words[: words.index("--")]) if "--" in words else list(words)
    words = [re.sub(rf"^(\$.*|[A-Z]*(\.\.\.)?|.*{UNKNOWN}.*)$", "X", word) for word in words]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as complaint:
        try:
            main([*words, "--help"])
        except SystemExit as end:
            if end.code and "invalid choice: 'X'" not in complaint.getvalue():
                return complaint.getvalue().strip().splitlines()[-1]
    top = _help(main)
    options = [word.partition("=")[0] for word in words if word.startswith("-") and word != "-"]
    known = re.findall(r"(?<![\w-])--?\w[\w-]*", said.getvalue() + top)
    return next((f"no option {word}" for word in options if word not in known), "")


def _help(main: Callable[[list[str]], Any]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main(["--help"])
    return said.getvalue()


_MAINS: dict[str, Callable[[list[str]], Any]] = {"lab": lab.main, "tools": tools.main, "tools.site": site.main}


@functools.cache
def _pulumi_commands() -> Any:
    command = [str(ensure_pulumi() / "pulumi"), "generate-cli-spec"]
    return json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)


def _pulumi(words: Sequence[str]) -> str:
    here, path, options = _pulumi_commands(), list[str](), set[str]()
    rest = list(words)
    while True:
        options |= set(here.get("flags", {}))
        if not rest or rest[0] not in here.get("commands", {}):
            break
        here = here["commands"][rest[0]]
        path.append(rest.pop(0))
    named = [word[2:].partition("=")[0] for word in rest if re.match(r"--\w", word)]
    if wrong := [name for name in named if name not in options]:
        return f"pulumi {' '.join(path)} has no option --{wrong[0]}"
    given = [word for word in rest if not word.startswith("-")]
    if here["type"] == "menu" and given and given[0] != UNKNOWN and "arguments" not in here:
        return f"pulumi {' '.join(path)} has no command {given[0]}"
    if path[:1] == ["config"] and path[1:] in (["set"], ["rm"], ["get"]) and given:
        return _key(given[0], named)
    if path == ["stack", "output"] and given and given[0] not in {*_OUTPUTS, UNKNOWN}:
        return f"no output {given[0]}"
    return ""


def _key(path: str, options: Sequence[str]) -> str:
    """Whether a configuration key exists, and is set as it must be."""
    if UNKNOWN in path or re.match(r"(aws|hcloud):", path):
        return ""
    path = re.sub(r"\[\d+\]", "[]", path.removeprefix("external-etcd:"))
    above = _TABLE.by_path.get(path.rpartition(".")[0])
    key = above if above is not None and above.type == MAP else _TABLE.by_path.get(path)
    if key is None:
        return f"no key {path}"
    if key.secret and "secret" not in options:
        return f"{path} is secret: --secret"
    return f"{path} is a path: --path" if re.search(r"[.\[]", path) and "path" not in options else ""


_CHECKS: dict[str, Callable[[Sequence[str]], str]] = {
    "etcd-node": _node,
    "external-etcd": _console,
    "make": _make,
    "pulumi": _pulumi,
    "python": _python,
}
