"""A Pulumi monitor for tests that records every registration as the engine would receive it."""

import asyncio
import base64
import bz2
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from google.protobuf import json_format
from pulumi.runtime import mocks, resource
from pulumi.runtime.proto import source_pb2

from .answers import SFTP, health, marked

# The calls that led to each resource take a quarter of the time here, and no test looks at them.
resource._get_stack_trace = source_pb2.StackTrace

SECRET_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"
OPERATOR = {"id": "0123456789abcdef", "by": "alice@desk"}


AWS_IDS = {
    "aws:ebs/volume:Volume": "vol",
    "aws:ec2/eip:Eip": "eip",
    "aws:ec2/instance:Instance": "i",
    "aws:ec2/networkInterface:NetworkInterface": "eni",
    "aws:ec2/securityGroup:SecurityGroup": "sg",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "vpc",
}
"""Type -> prefix of its IDs."""


@dataclass(frozen=True)
class Registration:
    """One RegisterResource request."""

    type: str
    name: str
    parent: str
    """Name of the parent; empty for the stack's children."""
    inputs: dict[str, Any]
    """Inputs as on the wire: secrets in their envelope, unknowns as the unknown marker."""
    depends_on: frozenset[str]
    """Names of the resources in `dependencies`."""
    request: Any
    """The protobuf request."""
    response: Any
    """The protobuf response: URN, ID, outputs."""


@dataclass
class Recorder:
    """The registrations, in order."""

    registrations: list[Registration] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Component name -> arguments of register_outputs, as on the wire."""

    def named(self, name: str, type_: str | None = None) -> Registration:
        """The registration with that name (and type); fails unless there is exactly one."""
        found = [r for r in self.registrations if r.name == name and type_ in (None, r.type)]
        assert len(found) == 1, (
            f"{name}: {len(found)} registrations; there are {sorted(r.name for r in self.registrations)}"
        )
        return found[0]

    def of_type(self, type_: str) -> list[Registration]:
        """All registrations of a type."""
        return [r for r in self.registrations if r.type == type_]


def _name_of(urn: str) -> str:
    type_, name = urn.split("::")[-2:]
    return "" if type_.endswith("pulumi:pulumi:Stack") else name


class _Monitor(mocks.MockMonitor):
    def __init__(self, answers: mocks.Mocks, recorder: Recorder) -> None:
        super().__init__(answers)
        self._recorder = recorder

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self._recorder.registrations.append(
                Registration(
                    type=request.type,
                    name=request.name,
                    parent=_name_of(request.parent) if request.parent else "",
                    inputs=json_format.MessageToDict(request.object),
                    depends_on=frozenset(_name_of(urn) for urn in request.dependencies),
                    request=request,
                    response=response,
                )
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self._recorder.outputs[_name_of(request.urn)] = json_format.MessageToDict(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


class _Answers(mocks.Mocks):
    """Plausible outputs for the project's resources. In a preview, what only a provider knows stays unknown."""

    def __init__(
        self, preview: bool, previous: Mapping[str, Any], said: Mapping[str, str], state: Mapping[str, Any]
    ) -> None:
        self._preview = preview
        self._state = {urn: {"outputs": outputs} for urn, outputs in state.items()}
        self._said = said
        self._previous = dict(previous)

    def call(self, args: mocks.MockCallArgs) -> Any:
        if args.token == "aws:ec2/getAmi:getAmi":
            # Each image filter gets its own ID.
            return {"id": aws_id("ami", json.dumps(args.args, sort_keys=True))}
        if args.token == "pulumi:pulumi:readStackResourceOutputs":
            return {"outputs": self._state}
        raise AssertionError(f"the program must not call {args.token}")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ == "pulumi:index:Stash":
            given = args.inputs["input"]
            # As the state keeps it from one run to the next.
            bootstrapping = isinstance(given, dict) and "operator" in given
            state["output"] = {**given, "operator": OPERATOR} if bootstrapping else self._said.get(args.name, given)
        if self._preview and args.typ != "pulumi:pulumi:StackReference":
            return "", state
        if args.typ == "tls:index/privateKey:PrivateKey":
            state |= {
                name: {SECRET_KEY: SECRET_SIGNATURE, "value": private_key(args.name)}
                for name in ("privateKeyPem", "privateKeyOpenssh")
            } | {"publicKeyOpenssh": f"ssh-ed25519 {args.name}\n"}
        elif args.typ in ("tls:index/selfSignedCert:SelfSignedCert", "tls:index/locallySignedCert:LocallySignedCert"):
            state |= {"certPem": certificate(args.name), "validityEndTime": "2099-11-21T00:00:00Z"}
        elif args.typ == "tls:index/certRequest:CertRequest":
            state["certRequestPem"] = f"request {args.name}"
        elif args.typ == "command:remote:Command":
            checks = args.name.endswith("-health")
            said = self._said.get(args.name, f"{args.name} said")
            text = marked(args.name, health(args.inputs["create"]) if checks else said)
            if args.name.endswith("-sftp"):
                text = self._said.get(args.name, SFTP)
            state |= {"stdout": text, "stderr": ""}
        elif args.typ.startswith("hcloud:"):
            # Its IDs are numbers, as strings.
            number = zlib.crc32(f"{args.typ} {args.name}".encode()) % 1_000_000
            state |= {"ipv4Address": f"198.51.100.{number % 250}", "linuxDevice": f"/dev/disk/by-id/volume_{number}"}
            return str(number), state
        elif args.typ in AWS_IDS:
            identity = aws_id(AWS_IDS[args.typ], args.name)
            number = zlib.crc32(identity.encode()) % 250
            state |= {"publicIp": f"198.51.100.{number}", "allocationId": identity.replace("eip", "eipalloc")}
            return identity, state
        elif args.typ.startswith(("aws:s3/", "aws:iam/")):
            name = state.get("bucket", args.name)
            kind = "role" if args.typ.startswith("aws:iam/") else "bucket"
            return name, {"name": name, "arn": f"arn:{kind}:{name}", **state}
        elif args.typ == "pulumi:pulumi:StackReference":
            state |= {"outputs": self._previous}
        return f"{args.name}-id", state


def aws_id(kind: str, name: str) -> str:
    """The mock's ID of the AWS resource `name`: `vol-...` and the like."""
    return f"{kind}-{zlib.crc32(name.encode()):017x}"


def private_key(name: str) -> str:
    """The mock's private key of the resource `name`."""
    return f"-----BEGIN PRIVATE KEY----- of {name}"


def certificate(name: str) -> str:
    """The mock's certificate of the resource `name`."""
    return f"-----BEGIN CERTIFICATE----- of {name}"


def record(
    program: Callable[[], object],
    preview: bool,
    previous: Mapping[str, Any] | None = None,
    said: Mapping[str, str] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Recorder:
    """Run `program` with mocks and return its registrations.

    Args:
        program: declares resources; may be a coroutine function.
        preview: as in `pulumi preview`: outputs that a provider computes are unknown.
        previous: the stack's outputs of its last update, for programs that read them.
        said: name of a command -> its answer; of one that asks about sftp, its whole output; of a Stash, what it keeps.
        state: URN -> outputs in the state, for programs that read them.
    """
    recorder = Recorder()
    answers = _Answers(preview, previous or {}, said or {}, state or {})
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(
        answers, project="external-etcd", stack="test", preview=preview, monitor=_Monitor(answers, recorder)
    )

    def run() -> object:
        return program()

    pulumi.runtime.test(run)()  # type: ignore[no-untyped-call]
    return recorder


def plain_text(value: Any) -> str:
    """All text in `value` outside secret envelopes, one string per line."""
    if isinstance(value, dict):
        if value.get(SECRET_KEY) == SECRET_SIGNATURE:
            return ""
        return "\n".join(plain_text(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return "\n".join(plain_text(part) for part in value)
    return str(value)


def bundle_of(command: Registration) -> Any:
    """What a `converge` gets on standard input."""
    return json.loads(bz2.decompress(base64.b64decode(command.inputs["stdin"]["value"])))


def is_secret(value: Any) -> bool:
    """Whether the value is in a secret envelope."""
    return isinstance(value, dict) and value.get(SECRET_KEY) == SECRET_SIGNATURE
