"""Reviews of real previews, for tests: a stack that was up without machines, and the comments on its changes."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from components.review import cli
from components.review.review import POLICIES
from stacks.keys import table
from stacks.platforms import PLATFORMS

from . import pretended
from .snapshot import DIRECTORY, UPDATE
from .sshd import new_key
from .stacks import Stack

FOLDER = DIRECTORY / "review"
"""The reviewed comments."""
KEYS = table(PLATFORMS)
SECRETS = {key.path for key in KEYS.keys if key.secret}
"""Paths of the keys whose values must never be shown."""
PASSPHRASE = "canary-of-the-passphrase"
PRIVATE_KEY, PUBLIC_KEY = new_key()
HOST_KEY = " ".join(PUBLIC_KEY.split()[:2])
_PROVIDERS = ("hcloud:token", "aws:secretKey", "elsewhere:apiToken")


def machines(*numbers: int, **ssh: Any) -> list[dict[str, Any]]:
    """Entries of `machines`."""
    login = {"hostKey": HOST_KEY, **ssh}
    return [{"name": f"etcd-{n}", "address": f"192.0.2.{n}", "ssh": login} for n in numbers]


class Reviews:
    """A stack without machines, with previews of its changes.

    Args:
        stack: not up yet.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.stack.environ["PATH"] = f"{pretended.PATH}:{self.stack.environ['PATH']}"
        self._keys: set[str] = set()

    def up(self, **given: Any) -> None:
        """Update the stack, with these keys from now on; None removes one. Its private keys become canaries."""
        self.stack.config = _with(self.stack.config, given)
        self.stack.up()
        self._keys |= {*_private_keys(self.stack.outputs())}

    def preview(self, *, destroy: bool = False, **given: Any) -> str:
        """`pulumi preview --json` with these keys; None removes one. Its configuration has every canary in it.

        With `destroy`, it is the preview of a destroy.
        """
        before = self.stack.config
        self.stack.config = _with(before, given)
        try:
            text = self.stack.preview_json(check=False, destroy=destroy)
            given_keys = {*secret_values(self.stack.config).values()}
            assert given_keys, "without a secret, none can be shown"
            assert [line for line in _lines(given_keys) if line not in text] == []
            self._keys |= given_keys
            return text
        finally:
            self.stack.config = before

    def assert_no_secret(self, text: str) -> None:
        """Fail if a secret of the stack or of one of its previews is in the text."""
        assert [line for line in _lines(self._keys) if line in text] == []
        assert "canary" not in text.lower(), "a part of one"

    def assert_as_reviewed(
        self,
        change: str,
        preview: str,
        conditions: set[str],
        capsys: pytest.CaptureFixture[str],
        *,
        failed: bool = False,
    ) -> None:
        """Fail unless the comment is the one in the file, no output has a secret, and exactly these conditions hold."""
        path, picture = self.stack.directory / "preview.json", self.stack.directory / "steps.svg"
        path.write_text(preview)
        status = 1 if failed else 0
        capsys.readouterr()
        outputs = []
        for more in ([], ["--format=json"], [f"--svg={picture}"], ["--manual=https://example.com/manual"]):
            assert cli.main(["review", str(path), *more]) == status
            outputs.append(capsys.readouterr())
        comment, facts = (each.out for each in outputs[:2])
        everything = "\n".join([picture.read_text(), *(each.out + each.err for each in outputs)])
        self.assert_no_secret(everything)
        assert set(json.loads(facts)["policies"]) == conditions
        for condition in POLICIES:
            expected = 1 if failed else 3 if condition in conditions else 0
            assert cli.main(["review", str(path), "--fail-on", condition]) == expected, condition
        _assert_same_content(picture, comment)
        reviewed = FOLDER / f"{change.replace(' ', '-')}.md"
        if os.environ.get(UPDATE):
            reviewed.write_text(comment)
        assert comment == reviewed.read_text()


def _lines(keys: Iterable[str]) -> list[str]:
    """What must not be shown: of a key in PEM, each of its lines."""
    lines = [line for key in keys for line in key.splitlines() if "-----" not in line]
    return [line for line in lines if len(line) > 12]


def _assert_same_content(picture: Path, comment: str) -> None:
    """Fail unless the picture is XML with the text of every step in the comment, and a circle for each voter."""
    root = ElementTree.fromstring(picture.read_text())  # noqa: S314 (the test has written it)
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    shown = re.sub(r"\s+", "", "".join(texts))
    steps = re.findall(r'^  s\d+\["(.+?)<br/>([●○]*) (.+)"\]', comment, re.MULTILINE)
    for text, _, tolerates in steps:
        plain = text.replace("#quot;", '"').replace("#lt;", "<").replace("#gt;", ">")
        assert re.sub(r"\s+", "", plain + tolerates) in shown
    circles = sum(1 for _ in root.iter("{http://www.w3.org/2000/svg}circle"))
    assert circles == sum(len(each) for _, each, _ in steps)


def _with(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**config, **given}.items() if value is not None}


def secret_values(config: Mapping[str, Any]) -> dict[str, str]:
    """Path in the table of keys -> the secret there; of several, the last one. Tokens of providers are secrets, too."""
    own = {key.removeprefix("external-etcd:"): value for key, value in config.items()}
    found = {path: value for path, value in _flat(own) if path in SECRETS}
    return found | {key: str(config[key]) for key in _PROVIDERS if key in config}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            inner = f"{path}.{key}" if path else key
            yield from _flat(each, path if path in SECRETS else inner)
    elif isinstance(value, list):
        for each in value:
            yield from _flat(each, f"{path}[]")
    else:
        yield path, str(value)


def _private_keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [key for each in value.values() for key in _private_keys(each)]
    return [value] if isinstance(value, str) and value.startswith("-----BEGIN") and "PRIVATE KEY" in value else []
