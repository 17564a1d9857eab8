"""The provider protocol, as far as plugins with simple resources need it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from .schema import Failure, Field, check, with_defaults
from .wire import Change, difference, from_struct, plain, root, to_struct

DEBUG, INFO, WARNING, ERROR = range(4)  # the protocol's severities


class ProviderError(Exception):
    """A failed operation; the user sees only this text."""


class PartialError(ProviderError):
    """The resource was created, but a later step failed; the state must keep it.

    Attributes:
        identity: its id.
        state: its current state.
    """

    def __init__(self, text: str, identity: str, state: dict[str, Any]) -> None:
        super().__init__(text)
        self.identity = identity
        self.state = state


class Engine:
    """Sends messages to the engine. All methods are thread-safe."""

    def __init__(self, address: str = "") -> None:
        self.address = address
        self._lock = threading.Lock()
        self._channel: Any = None

    def log(self, severity: int, message: str, urn: str, *, status: bool = False) -> None:
        """Show `message` with the resource `urn`; `status`: only while the operation runs, like streamed output.

        It does not fail if the engine does not answer.
        """
        if not self.address:
            return
        from pulumi.runtime.proto import engine_pb2  # noqa: PLC0415 (most runs log nothing)

        with self._lock:
            if self._channel is None:
                self._channel = grpc.insecure_channel(self.address)
                self._send = self._channel.unary_unary(
                    "/pulumirpc.Engine/Log",
                    request_serializer=engine_pb2.LogRequest.SerializeToString,
                    response_deserializer=empty_pb2.Empty.FromString,
                )
        severities = (engine_pb2.DEBUG, engine_pb2.INFO, engine_pb2.WARNING, engine_pb2.ERROR)
        request = engine_pb2.LogRequest(severity=severities[severity], message=message, urn=urn, ephemeral=status)
        try:
            self._send(request, timeout=10)
        except grpc.RpcError:
            return


@dataclass(frozen=True)
class Call:
    """One operation on one resource.

    Attributes:
        urn: the resource.
        preview: whether nothing may be changed.
        deadline: `time.monotonic()` at which the user's `customTimeouts` end; None: never.
        cancelled: set when the engine cancels all operations.
        engine: receives messages.
    """

    urn: str
    preview: bool
    deadline: float | None
    cancelled: threading.Event
    engine: Engine

    @property
    def name(self) -> str:
        """The resource's name in the program."""
        return self.urn.rpartition("::")[2]

    def log(self, severity: int, message: str, *, status: bool = False) -> None:
        """Show a message with this resource."""
        self.engine.log(severity, message, self.urn, status=status)

    def wait(self, seconds: float) -> None:
        """Wait. Raises ProviderError on the deadline and on cancellation."""
        left = seconds if self.deadline is None else min(seconds, self.deadline - time.monotonic())
        if self.cancelled.wait(max(left, 0.0)):
            raise ProviderError("context canceled")
        if left < seconds:
            raise ProviderError("context deadline exceeded")


class Resource(ABC):
    """One type of resource. Inputs and states are dicts of `wire` values."""

    fields: Mapping[str, Field]
    autonamed: bool = False
    """Whether a `name` is generated if the program gives none."""

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """The errors in the program's inputs."""
        return check(self.fields, inputs)

    def settle(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs that the state keeps: with defaults and secret marks."""
        return with_defaults(self.fields, inputs)

    def diff(
        self,
        old: Mapping[str, Any],
        state: Mapping[str, Any],  # noqa: ARG002 (for overriding)
        new: Mapping[str, Any],
    ) -> dict[str, Change]:
        """Changes by path, from the inputs `old` (and their state) to the inputs `new`."""
        changes = difference(_own(old), _own(new))
        replacing = {name for name, field in self.fields.items() if field.replaces}
        return {path: kind.replacing() if root(path) in replacing else kind for path, kind in changes.items()}

    @abstractmethod
    def create(self, call: Call, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Create it; returns its id and state."""

    @abstractmethod
    def update(self, call: Call, state: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """Change it in place; returns its new state."""

    def delete(self, call: Call, state: dict[str, Any]) -> None:  # noqa: B027 (most resources need nothing)
        """Delete it."""

    def read(self, state: dict[str, Any]) -> dict[str, Any]:
        """Its current state, from the old one."""
        return state

    def refresh(
        self,
        call: Call,  # noqa: ARG002
        identity: str,  # noqa: ARG002
        state: dict[str, Any],
        inputs: dict[str, Any],
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Its current state, and the inputs that lead to it; None: it does not exist. No inputs: an import."""
        return self.read(state), inputs


def _own(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "version" and not name.startswith("__")}


@dataclass(frozen=True)
class Plugin:
    """A plugin.

    Attributes:
        version: of the official plugin that it replaces.
        resources: by type token.
        settings: the provider's settings; None: all are accepted, and ignored.
        configure: receives the provider's settings, without secret marks. Raises ProviderError.
        functions: by token; from arguments to result. They raise ProviderError.
    """

    name: str
    version: str
    resources: Mapping[str, Resource]
    settings: Callable[[], Mapping[str, Field]] | None = None
    configure: Callable[[Mapping[str, Any]], None] | None = None
    functions: Mapping[str, Callable[[Call, dict[str, Any]], dict[str, Any]]] = field(default_factory=dict)


class Service(provider_pb2_grpc.ResourceProviderServicer):
    """The plugin's side of the protocol."""

    def __init__(self, plugin: Plugin, engine: str = "") -> None:
        self._plugin = plugin
        self._engine = Engine(engine)
        self._cancelled = threading.Event()

    # -- the plugin as a whole ---------------------------------------------------------------------------------------

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Negotiate features with the engine."""
        self._engine.address = self._engine.address or request.engine_address
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True, accept_outputs=True)

    def Attach(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """The engine, which has not started this plugin, uses it."""
        self._engine.address = request.address
        return empty_pb2.Empty()

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Apply the provider's settings."""
        if self._plugin.configure is not None:
            try:
                self._plugin.configure(plain(from_struct(request.args)))
            except Exception as error:
                _fail(context, error)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=True
        )

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Check the provider's settings."""
        if self._plugin.settings is None:
            return provider_pb2.CheckResponse(inputs=request.news)
        fields, given = self._plugin.settings(), from_struct(request.news)
        return _checked(with_defaults(fields, given), check(fields, decoded(fields, given)))

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Compare the provider's settings: a change never replaces a resource."""
        kinds = provider_pb2.DiffResponse
        if self._plugin.settings is None:
            return kinds(changes=kinds.DIFF_NONE)
        old, new = _own(from_struct(request.olds)), _own(from_struct(request.news))
        changed = sorted({root(path) for path in difference(plain(old), plain(new))})
        return kinds(changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE, diffs=changed)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """The version of the official plugin that it replaces."""
        return plugin_pb2.PluginInfo(version=self._plugin.version)

    def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """The smallest valid schema: SDKs are generated from the official one."""
        resources: dict[str, object] = {token: {} for token in self._plugin.resources}
        schema = {"name": self._plugin.name, "version": self._plugin.version, "resources": resources}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Make every operation stop waiting."""
        self._cancelled.set()
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Call a function."""
        function = self._plugin.functions.get(request.tok)
        if function is None:
            served = ", ".join(self._plugin.functions) or "none"
            text = f"{request.tok} is not a function of the {self._plugin.name} stand-in, which has {served}"
            _fail(context, ProviderError(text))
        try:
            call = Call("", True, None, self._cancelled, self._engine)
            answer = function(call, plain(from_struct(request.args)))
            return provider_pb2.InvokeResponse(**{"return": to_struct(answer)})
        except Exception as error:
            _fail(context, error)

    # -- its resources -----------------------------------------------------------------------------------------------

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Check inputs and fill in defaults."""
        resource = self._resource(request.urn, context)
        inputs = from_struct(request.news)
        failures = resource.check(inputs)
        settled = resource.settle(inputs)
        if resource.autonamed and "name" not in settled:
            settled |= _name(request.urn, from_struct(request.olds), request.randomSeed)
        return _checked(settled, failures)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Report what changes, and which changes need a replacement."""
        resource = self._resource(request.urn, context)
        state = from_struct(request.olds)
        old = from_struct(request.old_inputs) or {name: state[name] for name in resource.fields if name in state}
        new = from_struct(request.news)
        for path in request.ignoreChanges:
            # The engine has already restored old values; a whole property is enough for engines that do not.
            if root(path) == path and path in old:
                new[path] = old[path]
        changes = resource.diff(old, state, new)
        kinds = provider_pb2.DiffResponse
        return kinds(
            changes=kinds.DIFF_SOME if changes else kinds.DIFF_NONE,
            diffs=sorted({root(path) for path in changes}),
            replaces=sorted(path for path, change in changes.items() if change & 1),
            hasDetailedDiff=True,
            detailedDiff={
                path: provider_pb2.PropertyDiff(kind=int(change), inputDiff=root(path) in resource.fields)  # type: ignore[arg-type]
                for path, change in changes.items()
            },
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Create a resource."""
        resource = self._resource(request.urn, context)
        try:
            identity, state = resource.create(self._call(request, request.preview), from_struct(request.properties))
        except PartialError as error:
            _fail_partly(context, error, request.properties)
        except Exception as error:
            _fail(context, error)
        return provider_pb2.CreateResponse(id="" if request.preview else identity, properties=to_struct(state))

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Read or import a resource."""
        resource = self._resource(request.urn, context)
        call = Call(request.urn, False, None, self._cancelled, self._engine)
        state, inputs = from_struct(request.properties), from_struct(request.inputs)
        try:
            found = resource.refresh(call, request.id, state, inputs)
        except Exception as error:
            _fail(context, error)
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=to_struct(found[0]), inputs=to_struct(found[1]))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Change a resource in place. A failure leaves the old state, so the next run tries again."""
        resource = self._resource(request.urn, context)
        call = self._call(request, request.preview)
        try:
            state = resource.update(call, from_struct(request.olds), from_struct(request.news))
        except Exception as error:
            _fail(context, error)
        return provider_pb2.UpdateResponse(properties=to_struct(state))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Delete a resource."""
        resource = self._resource(request.urn, context)
        try:
            resource.delete(self._call(request, preview=False), from_struct(request.properties))
        except Exception as error:
            _fail(context, error)
        return empty_pb2.Empty()

    def _resource(self, urn: str, context: Any) -> Resource:
        token = urn.split("::")[2].rpartition("$")[2] if urn.count("::") >= 3 else urn
        resource = self._plugin.resources.get(token)
        if resource is None:
            served = ", ".join(self._plugin.resources)
            _fail(
                context,
                ProviderError(
                    f"{token} is not served by this stand-in for the plugin {self._plugin.name}, which has {served}: "
                    "install the official plugin for it"
                ),
            )
        return resource

    def _call(self, request: Any, preview: bool) -> Call:
        deadline = time.monotonic() + request.timeout if request.timeout > 0 else None
        return Call(request.urn, preview, deadline, self._cancelled, self._engine)


def _checked(inputs: Mapping[str, Any], failures: list[Failure]) -> Any:
    return provider_pb2.CheckResponse(
        inputs=to_struct(inputs),
        failures=[provider_pb2.CheckFailure(property=failure.path, reason=failure.reason) for failure in failures],
    )


def decoded(fields: Mapping[str, Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's settings, decoded: all but strings arrive as JSON."""
    found = {}
    for name, value in given.items():
        known = fields.get(name)
        found[name] = value
        if isinstance(plain(value), str) and known is not None and known.kind not in ("string", "any"):
            with contextlib.suppress(ValueError):
                found[name] = json.loads(plain(value))
    return found


def _name(urn: str, old: Mapping[str, Any], seed: bytes) -> dict[str, Any]:
    """The old name if it was generated too, else a new one; and the mark of a generated name."""
    if "name" in old and "name" in old.get("__defaults", ()):
        name = old["name"]
    else:
        import hashlib  # noqa: PLC0415 (not for the plugins that make up no names)

        name = f"{urn.rpartition('::')[2]}-{hashlib.sha256(seed or os.urandom(8)).hexdigest()[:7]}"
    return {"name": name, "__defaults": ["name"]}


def _fail_partly(context: Any, error: PartialError, inputs: Any) -> NoReturn:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.identity, properties=to_struct(error.state), reasons=[str(error)], inputs=inputs
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError("abort never returns")


def _fail(context: Any, error: BaseException) -> NoReturn:
    text = str(error) if isinstance(error, ProviderError) else f"{type(error).__name__}: {error}"
    context.abort(grpc.StatusCode.UNKNOWN, text)
    raise AssertionError("abort never returns")


def serve(plugin: Plugin, engine: str = "") -> tuple[grpc.Server, int]:
    """Serve `plugin` on a free port of the loopback address; returns the server and the port."""
    # A command may run for minutes and occupies a thread; threads are created only on demand.
    workers = ThreadPoolExecutor(max_workers=256)
    server = grpc.server(
        workers,
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Service(plugin, engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
