"""A Pulumi monitor for tests that keeps every registration as the engine would receive it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi
from google.protobuf import json_format
from pulumi.runtime import mocks

SECRET_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"


@dataclass(frozen=True)
class Registration:
    """One RegisterResource request."""

    type: str
    name: str
    parent: str
    """Name of the parent, empty for the stack's own children."""
    inputs: dict[str, Any]
    """Inputs as the wire has them: secrets in their envelope, unknowns as the unknown marker."""
    depends_on: frozenset[str]
    """Names of the resources in `dependencies`."""
    request: Any
    """The protobuf request."""


@dataclass
class Recorder:
    """What was registered, in order."""

    registrations: list[Registration] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Component name -> what it passed to register_outputs, as the wire has it."""

    def named(self, name: str, type_: str | None = None) -> Registration:
        """The registration of that name (and type); fails when there is not exactly one."""
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
        if request.type != "pulumi:pulumi:Stack":
            self._recorder.registrations.append(
                Registration(
                    type=request.type,
                    name=request.name,
                    parent=_name_of(request.parent) if request.parent else "",
                    inputs=json_format.MessageToDict(request.object),
                    depends_on=frozenset(_name_of(urn) for urn in request.dependencies),
                    request=request,
                )
            )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self._recorder.outputs[_name_of(request.urn)] = json_format.MessageToDict(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


class _Answers(mocks.Mocks):
    """Plausible outputs for the resources of this project. In a preview, what only a provider knows stays unknown."""

    def __init__(self, preview: bool) -> None:
        self._preview = preview

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise AssertionError(f"the program must not call {args.token}")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ == "pulumi:index:Stash":
            state["output"] = args.inputs["input"]
        if self._preview:
            return "", state
        if args.typ == "tls:index/privateKey:PrivateKey":
            state |= {
                name: {SECRET_KEY: SECRET_SIGNATURE, "value": private_key(args.name)} for name in ("privateKeyPem",)
            }
        elif args.typ in ("tls:index/selfSignedCert:SelfSignedCert", "tls:index/locallySignedCert:LocallySignedCert"):
            state |= {"certPem": f"certificate {args.name}", "validityEndTime": "2027-11-21T00:00:00Z"}
        elif args.typ == "tls:index/certRequest:CertRequest":
            state["certRequestPem"] = f"request {args.name}"
        elif args.typ == "command:remote:Command":
            state |= {"stdout": HEALTH if args.name.endswith("-health") else "", "stderr": ""}
        return f"{args.name}-id", state


HEALTH = json.dumps(
    {
        "cluster_id": "cafe",
        "leader": "a",
        "version": "3.6.16",
        "members": [
            {
                "name": name,
                "id": str(number),
                "endpoint": f"https://10.0.0.{10 + number}:2379",
                "version": "3.6.16",
                "role": "follower" if number > 1 else "leader",
                "db_size_bytes": 20480,
            }
            for number, name in enumerate("abc", start=1)
        ],
    }
)


def private_key(name: str) -> str:
    """What the mock says is the private key of the resource `name`."""
    return f"PRIVATE KEY of {name}"


def record(program: Callable[[], object], preview: bool) -> Recorder:
    """Runs `program` against mocks and returns what it registered.

    Args:
        program: builds resources.
        preview: as `pulumi preview` would: outputs that a provider computes are unknown.
    """
    recorder = Recorder()
    answers = _Answers(preview)
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(
        answers, project="external-etcd", stack="test", preview=preview, monitor=_Monitor(answers, recorder)
    )

    def run() -> None:
        program()

    pulumi.runtime.test(run)()  # type: ignore[no-untyped-call]
    return recorder


def plain_text(value: Any) -> str:
    """All text in `value` that is outside a secret envelope, one piece a line."""
    if isinstance(value, dict):
        if value.get(SECRET_KEY) == SECRET_SIGNATURE:
            return ""
        return "\n".join(plain_text(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return "\n".join(plain_text(part) for part in value)
    return str(value)


def is_secret(value: Any) -> bool:
    """Whether the value is in a secret envelope."""
    return isinstance(value, dict) and value.get(SECRET_KEY) == SECRET_SIGNATURE
