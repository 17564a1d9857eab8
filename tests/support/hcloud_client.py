"""The stand-in plugin hcloud in this process, called like the engine does, with the emulator's account."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from lab.plugins.hcloud import make_plugin
from lab.plugins.wire import Change, Secret, from_struct, to_struct
from tests.support.hetzner_account import TOKEN, HetznerAccount
from tests.support.plugin_client import PluginClient, Properties, running


class HcloudClient:
    """One type of resource of the plugin. `inputs` are checked before use, as the engine does."""

    def __init__(self, client: PluginClient, kind: str) -> None:
        self._client = client
        self._stub = client.stub
        self.urn = f"urn:pulumi:dev::project::hcloud:index/{kind[0].lower()}{kind[1:]}:{kind}::thing"

    def of(self, kind: str) -> HcloudClient:
        """The same plugin, for another type of resource."""
        return HcloudClient(self._client, kind)

    def answer(self, inputs: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> Any:
        """Check's answer."""
        request = provider_pb2.CheckRequest(urn=self.urn, news=to_struct(inputs), olds=to_struct(old or {}))
        return self._stub.Check(request, timeout=60)

    def failures(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Check's failures: reason by path."""
        return {failure.property: failure.reason for failure in self.answer(inputs).failures}

    def check(self, inputs: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> Properties:
        """The inputs that Check accepts."""
        answer = self.answer(inputs, old)
        assert not answer.failures, answer.failures
        return from_struct(answer.inputs)

    def create(self, inputs: Mapping[str, Any], *, preview: bool = False) -> tuple[str, Properties]:
        """The id and the state."""
        request = provider_pb2.CreateRequest(urn=self.urn, properties=to_struct(self.check(inputs)), preview=preview)
        answer = self._stub.Create(request, timeout=60)
        return answer.id, from_struct(answer.properties)

    def diff(self, state: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
        """Changes by path."""
        answer = self.difference(state, old, new)
        return {path: Change(entry.kind) for path, entry in answer.detailedDiff.items()}

    def difference(self, state: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
        """Diff's answer."""
        inputs = self.check(old)
        request = provider_pb2.DiffRequest(
            id=str(state.get("id", "1")),
            urn=self.urn,
            olds=to_struct(state),
            news=to_struct(self.check(new, inputs)),
            old_inputs=to_struct(inputs),
        )
        return self._stub.Diff(request, timeout=60)

    def update(self, state: Mapping[str, Any], new: Mapping[str, Any], *, preview: bool = False) -> Properties:
        """The new state."""
        request = provider_pb2.UpdateRequest(
            id=state["id"], urn=self.urn, olds=to_struct(state), news=to_struct(self.check(new)), preview=preview
        )
        return from_struct(self._stub.Update(request, timeout=60).properties)

    def read(
        self, identity: str, state: Mapping[str, Any] | None = None, inputs: Mapping[str, Any] | None = None
    ) -> tuple[str, Properties, Properties]:
        """The result of a refresh (or, without a state, an import): the id, the state, the inputs."""
        given = {} if inputs is None else self.check(inputs, inputs)
        request = provider_pb2.ReadRequest(
            id=identity, urn=self.urn, properties=to_struct(state or {}), inputs=to_struct(given)
        )
        answer = self._stub.Read(request, timeout=60)
        return answer.id, from_struct(answer.properties), from_struct(answer.inputs)

    def delete(self, state: Mapping[str, Any]) -> None:
        """Remove it."""
        request = provider_pb2.DeleteRequest(id=state["id"], urn=self.urn, properties=to_struct(state))
        assert self._stub.Delete(request, timeout=60) == empty_pb2.Empty()

    def configure(self, **settings: Any) -> None:
        """Configure the provider."""
        self._stub.Configure(provider_pb2.ConfigureRequest(args=to_struct(settings)), timeout=60)

    def config_failures(self, **settings: Any) -> dict[str, str]:
        """CheckConfig's failures: reason by path."""
        request = provider_pb2.CheckRequest(news=to_struct(settings))
        answer = self._stub.CheckConfig(request, timeout=60)
        return {failure.property: failure.reason for failure in answer.failures}

    def settings(self, **settings: Any) -> Properties:
        """The settings that CheckConfig accepts."""
        answer = self._stub.CheckConfig(provider_pb2.CheckRequest(news=to_struct(settings)), timeout=60)
        return from_struct(answer.inputs)

    def config_diff(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
        """DiffConfig's answer."""
        return self._stub.DiffConfig(provider_pb2.DiffRequest(olds=to_struct(old), news=to_struct(new)), timeout=60)

    @property
    def messages(self) -> list[Any]:
        """The plugin's messages to the engine."""
        return list(self._client.messages)


@contextlib.contextmanager
def hcloud(account: HetznerAccount) -> Iterator[HcloudClient]:
    """The plugin, configured with an account."""
    with running(make_plugin(), "") as client:
        plugin = HcloudClient(client, "Network")
        plugin.configure(endpoint=account.endpoint, token=Secret(TOKEN), pollInterval="1ms")
        yield plugin
