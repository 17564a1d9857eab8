"""Declarations of configuration keys. Parser, documentation, arguments and tests all read this table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TEXT, INTEGER, BOOLEAN, TEXTS = "text", "integer", "true or false", "list of texts"
OBJECT, LIST, MAP = "object", "list of objects", "map of texts"
INTEGER_OR_AUTO = "integer or `auto`"


@dataclass(frozen=True)
class Key:
    """One key."""

    path: str
    """Its path, like `machines[].ssh.host`."""
    type: str
    """One of those above."""
    meaning: str
    """Its meaning, in whole sentences, Markdown."""
    default: str = ""
    """Its default, for the documentation; empty: none."""
    unit: str = ""
    """Unit of a number; empty: none."""
    required: bool = False
    """Whether its object must have it."""
    secret: bool = False
    """Whether its value must never be shown."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]


class Table:
    """All keys, in the order of the documentation."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self.by_path = {key.path: key for key in self.keys}

    def below(self, path: str) -> Sequence[Key]:
        """The keys directly in the object at `path`; empty: the top level."""
        prefix = f"{path}." if path else ""
        return [key for key in self.keys if key.path.startswith(prefix) and "." not in key.path[len(prefix) :]]

    def holds_secret(self, path: str) -> bool:
        """Whether the key or any below it is secret."""
        return any(key.secret and (key.path + ".").startswith(f"{path}.") for key in self.keys)
