"""Property values as the engine sends them (secrets, unknowns, outputs), and the difference of two sets of them.

In this package a value is None, bool, float, str, list, dict, `Secret` or `UNKNOWN`. Assets, archives and resource
references stay as they are on the wire: dicts with a signature.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (the protocol's mark, not a secret)
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class Unknown(enum.Enum):
    """The value of a property that is known only after other resources exist."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True)
class Secret:
    """A value that the engine encrypts in its state and hides on the screen."""

    value: Any


class Change(enum.IntEnum):
    """The kind of a property's change, in the protocol's numbers."""

    ADD = 0
    ADD_REPLACE = 1
    DELETE = 2
    DELETE_REPLACE = 3
    UPDATE = 4
    UPDATE_REPLACE = 5

    def replacing(self) -> Change:
        """The same change, for a property that cannot change in place."""
        return Change(self | 1)


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The properties of a message; null properties count as absent, as in the official plugins."""
    return _fields(struct)


def _fields(struct: struct_pb2.Struct) -> dict[str, Any]:
    properties = {name: _from_value(value) for name, value in struct.fields.items()}
    return {name: value for name, value in properties.items() if value is not None}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "struct_value":
        return _from_object(_fields(value.struct_value))
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        return value.number_value
    return value.bool_value if kind == "bool_value" else None


def _from_object(fields: dict[str, Any]) -> Any:
    signature = fields.get(_SIGNATURE)
    if signature == _SECRET:
        return Secret(plain(fields.get("value")))
    if signature == _OUTPUT:
        value = fields.get("value", UNKNOWN)
        return Secret(plain(value)) if fields.get("secret") is True else value
    return fields


def to_struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """The message for `properties`."""
    struct = struct_pb2.Struct()
    for name, value in properties.items():
        _to_value(value, struct.fields[name])
    return struct


def _to_value(value: Any, into: struct_pb2.Value) -> None:
    if value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif value is UNKNOWN:
        into.string_value = _UNKNOWN_STRING
    elif isinstance(value, Secret):
        fields = into.struct_value.fields
        fields[_SIGNATURE].string_value = _SECRET
        _to_value(value.value, fields["value"])
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, (int, float)):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, list):
        into.list_value.SetInParent()
        for item in value:
            _to_value(item, into.list_value.values.add())
    elif isinstance(value, Mapping):
        into.struct_value.SetInParent()
        for name, item in value.items():
            _to_value(item, into.struct_value.fields[name])
    else:
        raise TypeError(f"a property cannot be a {type(value).__name__}")


def plain(value: Any) -> Any:
    """`value` without secret marks, at any depth."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return value


def is_known(value: Any) -> bool:
    """Whether `value` contains nothing unknown."""
    value = plain(value)
    if isinstance(value, list):
        return all(is_known(item) for item in value)
    if isinstance(value, dict):
        return all(is_known(item) for item in value.values())
    return value is not UNKNOWN


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> dict[str, Change]:
    """The paths (`connection.host`, `dnsNames[1]`) at which `new` differs from `old`.

    A secret is one value: differences inside it are not told apart. Becoming a secret, or ceasing to be one, is a
    change too.
    """
    changes: dict[str, Change] = {}
    for name in sorted({*old, *new}):
        path = _join(prefix, name)
        if name not in new:
            changes[path] = Change.DELETE
        elif name not in old:
            changes[path] = Change.ADD
        else:
            changes |= _value_difference(old[name], new[name], path)
    return changes


def _value_difference(old: Any, new: Any, path: str) -> dict[str, Change]:
    # An object with a signature, such as an asset, is one value. Here the engine sends only an asset's hash.
    if isinstance(old, dict) and isinstance(new, dict) and _SIGNATURE not in {**old, **new}:
        return difference(old, new, path)
    if isinstance(old, list) and isinstance(new, list):
        changes: dict[str, Change] = {}
        for index in range(max(len(old), len(new))):
            item = f"{path}[{index}]"
            if index >= len(new):
                changes[item] = Change.DELETE
            elif index >= len(old):
                changes[item] = Change.ADD
            else:
                changes |= _value_difference(old[index], new[index], item)
        return changes
    same = isinstance(old, Secret) == isinstance(new, Secret) and plain(old) == plain(new) and is_known(new)
    return {} if same else {path: Change.UPDATE}


def _join(prefix: str, name: str) -> str:
    if not name or any(mark in name for mark in '.[]"'):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{prefix}["{quoted}"]'
    return f"{prefix}.{name}" if prefix else name


def root(path: str) -> str:
    """The first property of a path."""
    return path.split(".", 1)[0].split("[", 1)[0]
