"""The arguments of `EtcdCluster` in a configuration. The key of `extra_names` is `extraNames`."""

import re
from collections.abc import Mapping
from typing import Any, cast

import pulumi

from components import EtcdClusterArgs

from .key_table import LIST, OBJECT, TEXT, Key, Table
from .reading import Reading


def arguments(reading: Reading) -> EtcdClusterArgs:
    """The configured arguments without `members`. Secrets are in plain text."""
    found = {
        snake_case(name): argument(value, reading.table.by_path[name], reading.table)
        for name, value in reading.given.items()
        if snake_case(name) in EtcdClusterArgs.__annotations__
    }
    return cast(EtcdClusterArgs, found)


def argument(value: Any, key: Key, table: Table) -> Any:
    """The value of a key as an argument, in Python's names."""
    if key.type == OBJECT:
        return _object(value, key.path, table)
    if key.type == LIST:
        return [_object(each, f"{key.path}[]", table) for each in value]
    return value


def _object(value: Mapping[str, Any], path: str, table: Table) -> dict[str, Any]:
    keys = table.below(path)
    found = {snake_case(key.name): argument(value[key.name], key, table) for key in keys if key.name in value}
    # A missing required key has been noted as a problem.
    return {snake_case(key.name): "" for key in keys if key.required and key.type == TEXT} | found


def with_secrets(args: EtcdClusterArgs, table: Table) -> EtcdClusterArgs:
    """The arguments, with all secret values as secret outputs."""
    secret = {snake_case(key.name) for key in table.keys if key.secret}

    def closed(value: Any, name: str, inside: bool = False) -> Any:
        inside = inside or name in secret
        if isinstance(value, Mapping):
            return {each: closed(part, each, inside) for each, part in value.items()}
        if isinstance(value, list):
            return [closed(part, "", inside) for part in value]
        return pulumi.Output.secret(value) if inside else value

    return cast(EtcdClusterArgs, closed(args, ""))


def camel_case(name: str) -> str:
    """The key for an argument."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def snake_case(name: str) -> str:
    """The argument at a key."""
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)
