"""The provider: a schema with every description, and components that are constructed from its values."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi.provider import ConstructResult
from pulumi.provider.experimental.analyzer import ComponentDefinition
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.experimental.schema import generate_schema
from pulumi.provider.server import ComponentInitError

from ..aws import AwsBackupBucket, AwsEtcdCluster
from ..cluster import EtcdCluster
from ..hetzner import HetznerEtcdCluster
from ..plan.errors import PlanError
from .descriptions import described, in_schema
from .refusals import refusal
from .values import Values

NAME = "external-etcd"
DESCRIPTION = "A highly available external etcd cluster for Kubernetes"
COMPONENTS: Sequence[type[pulumi.ComponentResource]] = (
    EtcdCluster,
    AwsEtcdCluster,
    HetznerEtcdCluster,
    AwsBackupBucket,
)
"""The components whose arguments other languages can express: no resources, no methods."""


class Provider(ComponentProvider):
    """Pulumi's provider of these components, with what other languages need in addition.

    Args:
        version: of this package, `X.Y.Z`.
    """

    def __init__(self, version: str) -> None:
        super().__init__([*COMPONENTS], NAME, None, version)
        self._values = Values(self._type_defs, self._component_defs)
        names = self._values.names
        for component in COMPONENTS:
            known = self._component_defs[component.__name__]
            known.description = in_schema(known.description or "", names)
            described(component.__init__.__annotations__["args"], known.inputs, known.inputs_mapping, names)
            described(component, known.outputs, known.outputs_mapping, names)
        for typ in self._type_defs.values():
            typ.description = in_schema(typ.description or "", names)
            described(typ.python_type, typ.properties, typ.properties_mapping, names)
        schema = generate_schema(NAME, version, None, self._component_defs, self._type_defs, self._dependencies)
        self.schema = json.dumps({**schema.to_json(), "description": DESCRIPTION, "license": "Apache-2.0"})

    def map_inputs(self, inputs: Mapping[str, Any], component_def: ComponentDefinition) -> dict[str, Any]:
        """The arguments of a component, in Python's names."""
        return self._values.arguments(inputs, component_def.inputs, component_def.inputs_mapping)

    def construct(
        self,
        name: str,
        resource_type: str,
        inputs: Mapping[str, Any],
        options: pulumi.ResourceOptions | None = None,
    ) -> ConstructResult:
        """Constructs a component.

        Raises:
            InputPropertiesError: the component refused its arguments, or they do not have the types of the schema.
            ComponentInitError: the component failed.
        """
        self.validate_resource_type(NAME, resource_type)
        kind = resource_type.rpartition(":")[2]
        known = self._component_defs[kind]
        arguments = self.map_inputs(inputs, known)
        try:
            component: Any = self._components[kind](name, arguments, options)  # type: ignore[arg-type]
        except PlanError as error:
            raise refusal(error, known, arguments, self._values) from None
        except Exception as error:
            raise ComponentInitError(error) from error
        return ConstructResult(component.urn, self.get_state(component, known))

    def get_state(self, instance: Any, component_def: ComponentDefinition) -> dict[str, Any]:
        """The outputs of a component, in the schema's names."""
        found = {name: getattr(instance, member, None) for name, member in component_def.outputs_mapping.items()}
        return {
            name: self._values.result(value, component_def.outputs[name])
            for name, value in found.items()
            if value is not None
        }
