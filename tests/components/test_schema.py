"""The schema of the components for other languages: every change is seen in review, and everything is described."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.plugin.descriptions import in_schema
from components.plugin.provider import Provider
from tests.support.snapshot import compare


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = without_nothing(json.loads(str(Provider("0.1.0").schema)))
    return found


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items() if each is not None}
    return [without_nothing(each) for each in value] if isinstance(value, list) else value


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("resources", "types"):
        for name, found in schema[kind].items():
            for part in ("inputProperties", "properties"):
                for key, given in found.get(part, {}).items():
                    yield f"{name}.{key}", given


def test_the_schema_is_the_reviewed_one(schema: dict[str, Any]) -> None:
    parts = {name: found for kind in ("resources", "types") for name, found in schema[kind].items()}
    rest = {key: found for key, found in schema.items() if key not in ("resources", "types")}
    compare({"package": rest, **parts}, "schema")


def test_every_component_type_and_property_is_described(schema: dict[str, Any]) -> None:
    described = {**schema["resources"], **schema["types"], **dict(properties(schema))}
    assert len(described) > 130
    assert [name for name, found in described.items() if len(found.get("description", "")) < 6] == []


def test_descriptions_have_the_names_of_the_schema(schema: dict[str, Any]) -> None:
    told = schema["resources"]["external-etcd:index:EtcdCluster"]["inputProperties"]["peerIssuer"]["description"]
    assert "first of `peerAuthorities`" in told
    for name, found in properties(schema):
        assert "peer_" not in found["description"], name
        assert "\n" not in found["description"], name
    # A key in a value has the same name in all languages.
    text = "One\n    `cluster_name`, `db_size`.\n\n    Raises ValueError: never."
    assert in_schema(text, {"cluster_name"}) == "One `clusterName`, `db_size`."
