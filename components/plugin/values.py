"""Values between the schema's names and types and those of the components, all the way down.

The SDK's `ComponentProvider` renames the properties of objects and of lists of objects. It does not rename those in
outputs' lists and maps, and passes whole numbers as floats.
"""

import asyncio
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.errors import InputPropertiesError, InputPropertyError
from pulumi.output import Unknown, _OutputData
from pulumi.provider.experimental.analyzer import (
    ComponentDefinition,
    PropertyDefinition,
    PropertyType,
    TypeDefinition,
)
from pulumi.runtime.sync_await import _sync_await

from ..whole_numbers import whole
from .descriptions import camel_case

_UNKNOWN = "Its value decides which resources there are, so it must be known at preview."
_TYPES: Mapping[PropertyType | None, tuple[type, str]] = {
    PropertyType.STRING: (str, "It must be a text: write it in quotes."),
    PropertyType.INTEGER: (int, "It must be a whole number."),
    PropertyType.BOOLEAN: (bool, "It must be true or false."),
}
"""Type in the schema -> type in Python, and what a value of another type is told."""


@dataclass(frozen=True)
class Values:
    """Conversions of one package."""

    types: Mapping[str, TypeDefinition]
    """Its object types, by name."""
    components: Mapping[str, ComponentDefinition]
    """Its components, by name."""

    @functools.cached_property
    def names(self) -> Collection[str]:
        """The arguments and outputs in Python that have another name in the schema."""
        maps = [each.properties_mapping for each in self.types.values()]
        for each in self.components.values():
            maps += [each.inputs_mapping, each.outputs_mapping]
        return {argument for known in maps for name, argument in known.items() if name != argument}

    def type_of(self, given: PropertyDefinition) -> TypeDefinition | None:
        """The object type that a property refers to; None: it has another type."""
        _, marked, name = (given.ref or "").partition("#/types/")
        return self.types[name.rpartition(":")[2]] if marked else None

    def arguments(
        self,
        given: Any,
        properties: Mapping[str, PropertyDefinition],
        mapping: Mapping[str, str],
        path: str = "",
        *,
        secret: bool = False,
    ) -> dict[str, Any]:
        """The arguments of a component, or a part of them, as Python has them.

        Args:
            given: property -> value.
            properties: the properties there are.
            mapping: property -> argument.
            path: path of the part.
            secret: whether it comes from a secret.

        Raises:
            InputPropertyError: a required property is missing, or a value is not known.
            InputPropertiesError: there is no such property, or a value is of another type. Only the message has the
                path: the engine would print the value, and a key in the wrong place is one, too.
        """
        if not isinstance(given, Mapping):
            raise _refused(path, "It must be an object.")
        found = {}
        for name, kind in properties.items():
            at = f"{path}.{name}" if path else name
            if given.get(name) is not None:
                found[mapping[name]] = self._argument(given[name], kind, at, secret)
            elif not kind.optional:
                raise InputPropertyError(at, "This property is required.")
        for name in given:
            if name not in properties:
                raise _refused(f"{path}.{name}" if path else name, _no_such(name, properties))
        return found

    def _argument(self, value: Any, kind: PropertyDefinition, at: str, secret: bool) -> Any:
        if kind.plain:
            # Some languages wrap values that come from a resource, also known ones, and everything around a secret.
            if isinstance(value, pulumi.Output):
                data = _sync_await(value._data)
                value, secret = data.value, secret or data.is_secret
            if isinstance(value, Unknown):
                raise InputPropertyError(at, _UNKNOWN)
        elif isinstance(value, pulumi.Output):
            return value
        elif isinstance(value, Unknown) or secret:
            return _wrapped(value, secret=secret)
        if typ := self.type_of(kind):
            return self.arguments(value, typ.properties, typ.properties_mapping, at, secret=secret)
        if kind.items is not None:
            if not isinstance(value, list):
                raise _refused(at, "It must be a list.")
            items = kind.items
            return [self._argument(each, items, f"{at}[{index}]", secret) for index, each in enumerate(value)]
        if kind.additional_properties is not None:
            if not isinstance(value, Mapping):
                raise _refused(at, "It must be an object.")
            parts = kind.additional_properties
            return {key: self._argument(each, parts, f'{at}["{key}"]', secret) for key, each in value.items()}
        value = whole(value)
        # Not `isinstance`: true is an int.
        if kind.type in _TYPES and type(value) is not _TYPES[kind.type][0]:
            raise _refused(at, _TYPES[kind.type][1])
        return value

    def result(self, value: Any, kind: PropertyDefinition) -> Any:
        """An output of a component, as the schema names its parts."""
        if isinstance(value, pulumi.Output):
            return value.apply(lambda known: self.result(known, kind))
        if value is None:
            return None
        if typ := self.type_of(kind):
            names, properties = typ.properties_mapping, typ.properties
            return {name: self.result(value.get(names[name]), properties[name]) for name in names}
        if kind.items is not None:
            items = kind.items
            return [self.result(each, items) for each in value]
        if kind.additional_properties is not None:
            parts = kind.additional_properties
            # `Output.all` of nothing is a list.
            return {key: self.result(each, parts) for key, each in (value or {}).items()}
        return value


def _refused(path: str, reason: str) -> InputPropertiesError:
    return InputPropertiesError(f"{path}: {reason}", [])


def _no_such(name: str, properties: Collection[str]) -> str:
    other = camel_case(name)
    return f"There is no such property. Did you mean {other}?" if other in properties else "There is no such property."


def _wrapped(value: Any, *, secret: bool) -> pulumi.Output[Any]:
    """The value as an Output, which is not known if the value is not."""
    data: asyncio.Future[Any] = asyncio.Future()
    data.set_result(_OutputData(resources=set(), value=value, is_known=True, is_secret=secret))
    return pulumi.Output._from_data(data)
