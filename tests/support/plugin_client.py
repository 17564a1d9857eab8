"""A client of a provider plugin: the engine's requests, with Python values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, provider_pb2, provider_pb2_grpc

from lab.plugins.server import Plugin, serve
from lab.plugins.wire import Change, from_struct, to_struct

Properties = dict[str, Any]
Client = TypeVar("Client", bound="PluginClient")


class PluginClient:
    """One type of resource of a plugin in this process, and the plugin's messages to the engine.

    `inputs` are checked before use, as the engine does.
    """

    def __init__(self, stub: Any, token: str, messages: list[engine_pb2.LogRequest]) -> None:
        self.stub = stub
        self.messages = messages
        self.urn = f"urn:pulumi:dev::project::{token}::thing"

    @staticmethod
    def token(kind: str) -> str:
        """The token of a type."""
        return kind

    def of(self, kind: str) -> Self:
        """The same plugin, for another type of resource."""
        return type(self)(self.stub, self.token(kind), self.messages)

    def failures(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Check's failures: reason by path."""
        return {failure.property: failure.reason for failure in self._checked(inputs, {}).failures}

    def check(self, inputs: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> Properties:
        """The inputs that Check accepts."""
        answer = self._checked(inputs, old or {})
        assert not answer.failures, answer.failures
        return from_struct(answer.inputs)

    def _checked(self, inputs: Mapping[str, Any], old: Mapping[str, Any]) -> Any:
        request = provider_pb2.CheckRequest(urn=self.urn, news=to_struct(inputs), olds=to_struct(old))
        return self.stub.Check(request, timeout=60)

    def create(self, inputs: Mapping[str, Any], *, preview: bool = False, timeout: float = 0) -> tuple[str, Properties]:
        """The id and the state."""
        properties = to_struct(self.check(inputs))
        request = provider_pb2.CreateRequest(urn=self.urn, properties=properties, preview=preview, timeout=timeout)
        answer = self.stub.Create(request, timeout=120)
        return answer.id, from_struct(answer.properties)

    def update(self, state: Mapping[str, Any], new: Mapping[str, Any], *, preview: bool = False) -> Properties:
        """The new state."""
        request = provider_pb2.UpdateRequest(
            id="x", urn=self.urn, olds=to_struct(state), news=to_struct(self.check(new)), preview=preview
        )
        return from_struct(self.stub.Update(request, timeout=120).properties)

    def diff(self, state: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
        """Changes by path. Asserts that the answer is consistent."""
        inputs = self.check(old)
        request = provider_pb2.DiffRequest(
            id="x",
            urn=self.urn,
            olds=to_struct(state),
            news=to_struct(self.check(new, inputs)),
            old_inputs=to_struct(inputs),
        )
        answer = self.stub.Diff(request, timeout=60)
        changes = {path: Change(entry.kind) for path, entry in answer.detailedDiff.items()}
        assert answer.hasDetailedDiff
        assert not answer.deleteBeforeReplace
        assert answer.changes == (
            provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE
        )
        assert sorted(answer.replaces) == sorted(path for path, change in changes.items() if change & 1)
        return changes

    def delete(self, state: Mapping[str, Any]) -> None:
        """Delete the resource of `state`."""
        request = provider_pb2.DeleteRequest(id="x", urn=self.urn, properties=to_struct(state))
        self.stub.Delete(request, timeout=120)

    def read(
        self, identity: str, state: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> tuple[str, Properties, Properties]:
        """The result of a refresh: the id, the state, the inputs."""
        given = to_struct(self.check(inputs, inputs))
        request = provider_pb2.ReadRequest(id=identity, urn=self.urn, properties=to_struct(state), inputs=given)
        answer = self.stub.Read(request, timeout=60)
        return answer.id, from_struct(answer.properties), from_struct(answer.inputs)

    def invoke(self, function: str, **given: Any) -> Properties:
        """The result of a function, by its token."""
        answer = self.stub.Invoke(provider_pb2.InvokeRequest(tok=function, args=to_struct(given)), timeout=60)
        return from_struct(getattr(answer, "return"))

    def configure(self, **settings: Any) -> None:
        """Configure the provider."""
        self.stub.Configure(provider_pb2.ConfigureRequest(args=to_struct(settings)), timeout=60)

    def settings(self, **settings: Any) -> tuple[Properties, dict[str, str]]:
        """The settings as CheckConfig returns them, and its failures: reason by path."""
        answer = self.stub.CheckConfig(provider_pb2.CheckRequest(news=to_struct(settings)), timeout=60)
        return from_struct(answer.inputs), {failure.property: failure.reason for failure in answer.failures}


@contextlib.contextmanager
def running(plugin: Plugin, kind: str, client: type[Client]) -> Iterator[Client]:
    """Serve `plugin` with an engine that keeps its messages; yields a client of this class for a type of resource."""
    messages: list[engine_pb2.LogRequest] = []

    def keep(request: Any, context: Any) -> Any:
        messages.append(request)
        return empty_pb2.Empty()

    log = grpc.unary_unary_rpc_method_handler(
        keep,
        request_deserializer=engine_pb2.LogRequest.FromString,
        response_serializer=empty_pb2.Empty.SerializeToString,
    )
    engine = grpc.server(ThreadPoolExecutor(max_workers=8))
    engine.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pulumirpc.Engine", {"Log": log}),))
    engine_port = engine.add_insecure_port("127.0.0.1:0")
    engine.start()
    server, port = serve(plugin)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        request = provider_pb2.ProviderHandshakeRequest(engine_address=f"127.0.0.1:{engine_port}")
        stub.Handshake(request, timeout=60)
        yield client(stub, client.token(kind), messages)
    server.stop(None)
    engine.stop(None)


def refused(error: Any) -> str:
    """The text of a call that the plugin refused."""
    assert isinstance(error.value, grpc.RpcError)
    return str(error.value.details())


def lives(one: PluginClient, inputs: Mapping[str, Any], **changed: Any) -> Properties:
    """Create a resource, refresh, change it in place, refresh, delete, refresh; returns the last state.

    Asserts that the changes replace nothing, and that each refresh finds no difference.
    """
    identity, state = one.create(inputs)
    assert state["id"] == identity
    for new in (inputs, {**inputs, **changed}):
        if new != inputs:
            changes = one.diff(state, inputs, new)
            assert changes
            assert not any(change & 1 for change in changes.values()), changes
            state = one.update(state, new)
        found, seen, kept = one.read(identity, state, new)
        assert (found, seen, one.diff(seen, kept, new)) == (identity, state, {})
    one.delete(state)
    assert one.read(identity, state, inputs)[0] == ""
    return state
