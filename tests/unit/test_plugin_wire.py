"""Property values of the stand-in plugins: encoding, decoding, and differences."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2

from lab.plugins.wire import UNKNOWN, Change, Secret, difference, from_struct, is_known, to_struct

SIGNATURE = "4dabf18193072939515e22adb298388d"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

EVERYTHING = {
    "": "an empty name",
    "string": "\u20ac\n",
    "number": -1.5,
    "boolean": False,
    "unknown": UNKNOWN,
    "list": [None, 1.0, [], {}, {"a": UNKNOWN}],
    "object": {"a.b": {"c": [True, "x"]}, "empty": {}},
    "secret": Secret({"a": [1.0, "x", None]}),
    "secret unknown": Secret(UNKNOWN),
}


def test_values_survive_a_round_trip() -> None:
    assert from_struct(to_struct(EVERYTHING)) == EVERYTHING


def test_only_unknown_values_differ_from_themselves() -> None:
    changes = difference(EVERYTHING, EVERYTHING)
    assert changes == dict.fromkeys(("unknown", "list[4].a", "secret unknown"), Change.UPDATE)
    assert {name for name, value in EVERYTHING.items() if not is_known(value)} == {"unknown", "list", "secret unknown"}


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ({SIGNATURE: OUTPUT, "value": "a"}, "a"),
        ({SIGNATURE: OUTPUT, "value": "a", "secret": True, "dependencies": ["urn"]}, Secret("a")),
        ({SIGNATURE: OUTPUT, "dependencies": ["urn"]}, UNKNOWN),
        ({SIGNATURE: OUTPUT, "secret": True}, Secret(UNKNOWN)),
        ({SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "value": [UNKNOWN_TEXT]}, Secret([UNKNOWN])),
        ({"a": None, "b": 1}, {"b": 1}),
    ],
)
def test_the_engines_values_are_decoded(sent: dict[str, Any], value: object) -> None:
    struct = struct_pb2.Struct()
    struct.update({"property": sent})
    assert from_struct(struct) == {"property": value}


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({}, {"a": 1}, {"a": Change.ADD}),
        ({"a": 1}, {}, {"a": Change.DELETE}),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3, 4]}}, {"a.b[1]": Change.UPDATE, "a.b[2]": Change.ADD}),
        ({"a": [1, 2]}, {"a": [1]}, {"a[1]": Change.DELETE}),
        ({"a": {"x.y": 1}}, {"a": {"x.y": 2}}, {'a["x.y"]': Change.UPDATE}),
        ({"a": Secret({"b": 1})}, {"a": Secret({"b": 2})}, {"a": Change.UPDATE}),
        ({"a": 1}, {"a": Secret(1)}, {"a": Change.UPDATE}),
        ({"a": UNKNOWN}, {"a": UNKNOWN}, {"a": Change.UPDATE}),
    ],
)
def test_differences_are_reported_by_path(old: dict[str, Any], new: dict[str, Any], changes: dict[str, Change]) -> None:
    assert difference(old, new) == changes
