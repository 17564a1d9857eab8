"""The stand-in plugin hcloud in this process, called like the engine does, with the emulator's account."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab.plugins.hcloud import make_plugin
from lab.plugins.wire import Secret
from tests.support.hetzner_account import TOKEN, HetznerAccount
from tests.support.plugin_client import PluginClient, running


class HcloudClient(PluginClient):
    """One type of resource of the plugin, by its name: `NetworkSubnet`."""

    @staticmethod
    def token(kind: str) -> str:
        return f"hcloud:index/{kind[0].lower()}{kind[1:]}:{kind}"


@contextlib.contextmanager
def hcloud(account: HetznerAccount) -> Iterator[HcloudClient]:
    """The plugin, configured with an account."""
    with running(make_plugin(), "Network", HcloudClient) as plugin:
        plugin.configure(endpoint=account.endpoint, token=Secret(TOKEN), pollInterval="1ms")
        yield plugin
