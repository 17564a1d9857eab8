"""Refused arguments as Pulumi's errors of properties, with the path as a user of another language writes it."""

import re
from collections.abc import Mapping
from typing import Any

from pulumi.errors import InputPropertiesError, InputPropertyErrorDetails
from pulumi.provider.experimental.analyzer import ComponentDefinition, PropertyDefinition

from ..plan.errors import PlanError
from .descriptions import spelled
from .values import Values


def refusal(
    error: PlanError, component: ComponentDefinition, arguments: Mapping[str, Any], values: Values
) -> InputPropertiesError:
    """The error for the engine, which prints each property with its path and the reason.

    The engine also prints the whole value at a path, with all secrets in it. So a problem has a path for the engine
    only where nothing is given, or a value that the problem shows itself. Others are in the message, with their path.

    Args:
        component: the refused component.
        arguments: its arguments, in Python's names.
        values: knows the component's types.
    """
    details: list[InputPropertyErrorDetails] = []
    # A refused change is explained as a whole: it lists the updates that lead there.
    message = [] if str(error) == "\n".join(map(str, error.problems)) else [spelled(str(error), values.names)]
    for problem in error.problems if not message else ():
        path, there, public = _path(problem.key, component, arguments, values)
        reason = spelled(str(problem).removeprefix(f"{problem.key}: "), values.names)
        # A URL with credentials has the type of other texts, and the problem does not show it.
        if there is None or (public and problem.value == repr(there)):
            details.append({"property_path": path, "reason": reason})
        else:
            message.append(f"{path}: {reason}")
    return InputPropertiesError("\n".join(message), details)


def _path(key: str, component: ComponentDefinition, arguments: Any, values: Values) -> tuple[str, Any, bool]:
    """The path of a problem's key, what is there, and whether it is a text, number or switch of no secret type."""
    path, there, public = "", arguments, True
    properties, mapping = component.inputs, component.inputs_mapping
    kind: PropertyDefinition | None = None
    rest = key
    while rest:
        if kind is not None and kind.additional_properties is not None:
            rest = rest.removeprefix(".")
            path, there = f'{path}["{rest}"]', _in(there, rest)
            kind = kind.additional_properties
            public = public and bool(kind.plain)
            break
        found = re.match(r"\.?([^.\[\]]+|\[\d+\])", rest)
        if found is None:
            return f"{path}{rest}", there, False
        part, rest = found[1], rest[found.end() :]
        if kind is not None and kind.items is not None:
            index = _index(part, there)
            if index is None:
                return f"{path}.{part}{rest}", there, False
            path, there = f"{path}[{index}]", _in(there, index)
            kind = kind.items
        else:
            names = {argument: name for name, argument in mapping.items()}
            if part not in names:
                return f"{path}.{part}{rest}", there, False
            path = f"{path}.{names[part]}" if path else names[part]
            there = _in(there, part)
            kind = properties[names[part]]
        public = public and bool(kind.plain)
        if (typ := values.type_of(kind)) is not None:
            properties, mapping = typ.properties, typ.properties_mapping
    return path, there, public and isinstance(there, str | int | float)


def _in(whole: Any, key: Any) -> Any:
    """A part of a value; None: nothing is given there. What cannot be looked into, such as an Output, is the part."""
    if isinstance(whole, list):
        return whole[key] if key < len(whole) else None
    return whole.get(key) if isinstance(whole, Mapping) else whole


def _index(part: str, listed: Any) -> int | None:
    """The index of a part of a list: `[1]`, or the name of the part. None: the list has no part of that name."""
    if part.startswith("["):
        return int(part[1:-1])
    names = [each.get("name") for each in listed] if isinstance(listed, list) else []
    return names.index(part) if part in names else None
