"""The policy pack as the engine uses it: requests to its server, without the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import proto
from pulumi_policy.policy import _PolicyAnalyzerServicer

from etcd_policies.pack import LEVEL, NAME, POLICIES

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the engine sends a value that is not known yet."""
_URN = "urn:pulumi:dev::program::"


def secret(value: Any) -> dict[str, Any]:
    """How the engine sends a secret."""
    return {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": value}


@dataclass
class Resource:
    """A resource of a stack.

    Attributes:
        type: its type; a component's without the package.
        name: its name.
        outputs: its outputs.
        parent: the resource that has created it.
        uses: the resources that it depends on.
    """

    type: str
    name: str
    outputs: dict[str, Any] = field(default_factory=dict)
    parent: "Resource | None" = None
    uses: "Sequence[Resource]" = ()

    @property
    def token(self) -> str:
        """Its whole type."""
        return self.type if ":" in self.type else f"external-etcd:index:{self.type}"

    @property
    def urn(self) -> str:
        """Its URN."""
        types, parent = [self.token], self.parent
        while parent is not None:
            types, parent = [parent.token, *types], parent.parent
        return f"{_URN}{'$'.join(types)}::{self.name}"


class Pack:
    """The pack with a configuration: policy -> its keys."""

    def __init__(self, config: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._server = cast(Any, _PolicyAnalyzerServicer(NAME, "0.0.1", POLICIES, LEVEL))
        given = {}
        for policy, keys in (config or {}).items():
            given[policy] = proto.PolicyConfig(properties=_struct(keys), enforcementLevel=proto.MANDATORY)
        if given:
            self._server.Configure(proto.ConfigureAnalyzerRequest(policyConfig=given), None)

    @property
    def info(self) -> Any:
        """What the engine asks first: the policies with their schemas."""
        return self._server.GetAnalyzerInfo(None, None)

    def said(
        self, type_: str, inputs: Mapping[str, Any], *, component: str | None = "AwsMachines", protect: bool = False
    ) -> list[str]:
        """What the pack says about a resource: `<policy>: <message>`, or `?<policy>: <what is unknown>`.

        Args:
            type_: its type.
            inputs: its inputs.
            component: the component that creates it. None: the program.
            protect: the option of the same name.
        """
        parent = None if component is None else Resource(component, "etcd")
        it = Resource(type_, "it", parent=parent)
        options = proto.AnalyzerResourceOptions(protect=protect)
        request = proto.AnalyzeRequest(
            type=type_, name=it.name, urn=it.urn, properties=_struct(inputs), options=options
        )
        return _texts(self._server.Analyze(request, None))

    def said_of_stack(self, resources: Sequence[Resource]) -> list[str]:
        """The same about a whole stack."""
        sent = [
            proto.AnalyzerResource(
                type=each.token,
                name=each.name,
                urn=each.urn,
                properties=_struct(each.outputs),
                options=proto.AnalyzerResourceOptions(),
                parent=each.parent.urn if each.parent else "",
                dependencies=[one.urn for one in each.uses],
            )
            for each in resources
        ]
        return _texts(self._server.AnalyzeStack(proto.AnalyzeStackRequest(resources=sent), None))


def _struct(values: Mapping[str, Any]) -> Struct:
    struct = Struct()
    struct.update(dict(values))
    return struct


def _texts(answer: Any) -> list[str]:
    texts = []
    for each in answer.diagnostics:
        unknown = each.message.startswith("can't run policy")
        assert each.enforcementLevel == (proto.ADVISORY if unknown else proto.MANDATORY)
        message = each.message.partition("\n")[2] or each.message
        texts.append(f"{'?' if unknown else ''}{each.policyName}: {message}")
    return texts
