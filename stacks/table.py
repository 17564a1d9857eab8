"""How a configuration key is declared, once: parser, documentation, arguments and tests read the table of them all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TEXT, INTEGER, BOOLEAN, TEXTS = "text", "integer", "true or false", "list of texts"
OBJECT, LIST, MAP = "object", "list of objects", "map of texts"


@dataclass(frozen=True)
class Key:
    """One key."""

    path: str
    """Where it is: `machines[].ssh.host`."""
    type: str
    """`text`, `integer`, `true or false`, `list of texts`, `object`, `list of objects` or `map of texts`."""
    meaning: str
    """What it is for; whole sentences, Markdown."""
    default: str = ""
    """What holds without it, as the documentation says it; empty: there is no value then."""
    unit: str = ""
    """Unit of a number; empty: none."""
    required: bool = False
    """Whether the object that it belongs to cannot be without it."""
    secret: bool = False
    """Whether its value must never be shown."""

    @property
    def name(self) -> str:
        """Its last part."""
        return self.path.rpartition(".")[2]


class Table:
    """All keys, in the order of the documentation."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self.by_path = {key.path: key for key in self.keys}

    def below(self, path: str) -> Sequence[Key]:
        """The keys directly in the object at `path`; of the whole configuration for the empty path."""
        prefix = f"{path}." if path else ""
        return [key for key in self.keys if key.path.startswith(prefix) and "." not in key.path[len(prefix) :]]

    def holds_secret(self, path: str) -> bool:
        """Whether the key or any below it is secret."""
        return any(key.secret and (key.path + ".").startswith(f"{path}.") for key in self.keys)
