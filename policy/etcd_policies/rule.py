"""What all policies have in common: their configuration, their scope, and values that are not known yet."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

COMPONENTS = "external-etcd:index:"
"""How the types of all components begin."""

Schemas = Mapping[str, dict[str, Any]]
"""Key of a policy's configuration -> its JSON schema, with `description` and `default`."""
Settings = Mapping[str, Any]
"""Key of a policy's configuration -> its value."""

_MISSING = object()


class Findings:
    """What one policy finds out about one resource.

    A value can be unknown at preview. The policy still checks all others, and then says that it could not check this
    one. Pulumi shows that as advisory. The update, which knows all values, checks again before it touches the resource.
    """

    def __init__(self, report: ReportViolation) -> None:
        self._report = report
        self._unknown: UnknownValueError | None = None

    def violated(self, message: str) -> None:
        """Report a violation: what is wrong, and what to do."""
        self._report(message, None)

    @contextlib.contextmanager
    def if_known(self) -> Iterator[None]:
        """What follows ends at the first value that is not known yet."""
        try:
            yield
        except UnknownValueError as unknown:
            self._unknown = self._unknown or unknown

    def known(self, values: Sequence[Any] | None) -> Iterator[Any]:
        """The values of a list that are known."""
        for index in range(len(values or ())):
            value = _MISSING
            with self.if_known():
                value = (values or ())[index]
            if value is not _MISSING:
                yield value

    def close(self) -> None:
        """Raises UnknownValueError, which Pulumi shows, if a value was not known."""
        if self._unknown is not None:
            raise self._unknown


Check = Callable[[ResourceValidationArgs, Settings, Findings], None]


def resource_policy(
    name: str, description: str, checks: Mapping[str, Check], schemas: Schemas, *, everywhere: bool = False
) -> ResourceValidationPolicy:
    """A policy for resources of some types, with its own keys and the key `scope`.

    Args:
        name: of the policy.
        description: the rule, which precedes every message.
        checks: type of the resources -> the check.
        schemas: of its keys.
        everywhere: the default of `scope`: whether it also checks what no component created.
    """
    scope = {
        "type": "string",
        "enum": ["all", "components"],
        "default": "all" if everywhere else "components",
        "description": "components: only what a component of external-etcd created. all: the whole program.",
    }
    schemas = {**schemas, "scope": scope}

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        check = checks.get(args.resource_type)
        settings = _settings(name, args, schemas)
        if check is None or (settings["scope"] == "components" and not made_by(args.urn)):
            return
        findings = Findings(report)
        with findings.if_known():
            check(args, settings, findings)
        findings.close()

    return ResourceValidationPolicy(name, description, validate, config_schema=PolicyConfigSchema(dict(schemas)))


def stack_policy(
    name: str,
    description: str,
    check: Callable[[StackValidationArgs, Settings, ReportViolation], None],
    schemas: Schemas,
) -> StackValidationPolicy:
    """A policy for a whole stack. It runs at the end: at preview before, in an update after everything is changed."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        check(args, _settings(name, args, schemas), report)

    return StackValidationPolicy(name, description, validate, config_schema=PolicyConfigSchema(dict(schemas)))


def made_by(urn: str, component: str = "") -> bool:
    """Whether a component of external-etcd created the resource: this one, by default any."""
    parents = urn.split("::")[2].split("$")[:-1]
    return any(parent.startswith(COMPONENTS) and parent.endswith(component) for parent in parents)


def is_known(values: Mapping[str, Any], name: str) -> bool:
    """Whether a value is there and known."""
    try:
        return values.get(name) is not None
    except UnknownValueError:
        return False


def _settings(policy: str, args: ResourceValidationArgs | StackValidationArgs, schemas: Schemas) -> Settings:
    """Raises ValueError for another key. Pulumi checks values only, so a wrong key would leave the default."""
    given = args.get_config()
    if other := sorted(given.keys() - schemas.keys()):
        raise ValueError(f"{policy} has no key {other[0]!r}; its keys are {', '.join(sorted(schemas))}")
    return {name: given.get(name, schema["default"]) for name, schema in schemas.items()}
