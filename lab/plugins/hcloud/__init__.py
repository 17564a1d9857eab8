"""The stand-in for the plugin `hcloud`: servers, networks, firewalls and volumes of an emulated Hetzner Cloud."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from .. import sdk
from ..rest import Api
from ..rest_resource import Account
from ..schema import Field
from ..server import Plugin, ProviderError
from ..wire import UNKNOWN
from .resources import (
    PACKAGE,
    Firewall,
    Hcloud,
    Network,
    NetworkRoute,
    NetworkSubnet,
    PlacementGroup,
    SshKey,
    Volume,
    VolumeAttachment,
)
from .server import Server

VERSION = "1.43.3"
_OFFICIAL = "api.hetzner.cloud"
_INTERVAL = re.compile(r"(\d+)(ms|s)")

_TYPES: Mapping[str, Callable[[str, Account], Hcloud]] = {
    "network:Network": Network,
    "networkSubnet:NetworkSubnet": NetworkSubnet,
    "networkRoute:NetworkRoute": NetworkRoute,
    "sshKey:SshKey": SshKey,
    "placementGroup:PlacementGroup": PlacementGroup,
    "firewall:Firewall": Firewall,
    "server:Server": Server,
    "volume:Volume": Volume,
    "volumeAttachment:VolumeAttachment": VolumeAttachment,
}


def _no_token(text: str) -> str | None:
    return None if len(text) == 64 else "entered token is invalid (must be exactly 64 characters long)"


def _no_interval(text: str) -> str | None:
    return None if _INTERVAL.fullmatch(text) else f"invalid duration {text!r}: write 500ms or 2s"


def _settings() -> Mapping[str, Field]:
    fields = sdk.settings(PACKAGE)
    about: Mapping[str, Mapping[str, Any]] = {
        "token": {"secret": True, "rule": _no_token},
        "pollInterval": {"rule": _no_interval},
    }
    return {name: replace(known, **about.get(name, {})) for name, known in fields.items()}


def _api(settings: Mapping[str, Any]) -> Api:
    token = settings.get("token") or os.environ.get("HCLOUD_TOKEN", "")
    endpoint = settings.get("endpoint") or os.environ.get("HCLOUD_ENDPOINT", "")
    if not token:
        raise ProviderError("there is no API token: set hcloud:token in the stack's configuration, or HCLOUD_TOKEN")
    if endpoint is UNKNOWN or token is UNKNOWN:
        raise ProviderError("the endpoint and the token have to be known before anything is made")
    if not endpoint or urlsplit(endpoint).hostname == _OFFICIAL:
        raise ProviderError(
            "this stand-in for the plugin hcloud is for emulated clouds only, so that it can never touch what costs "
            "money: set hcloud:endpoint (or HCLOUD_ENDPOINT) to an emulator, or install the official plugin"
        )
    number, unit = _INTERVAL.findall(settings.get("pollInterval", "500ms"))[0]
    return Api(endpoint, token, poll=int(number) / (1 if unit == "s" else 1000))


def make_plugin() -> Plugin:
    """The plugin, without an account yet."""
    account = Account()
    resources = {f"hcloud:index/{name}": kind(f"hcloud:index/{name}", account) for name, kind in _TYPES.items()}
    functions = {"hcloud:index/getServerType:getServerType": _get_server_type(account)}
    return Plugin("hcloud", VERSION, resources, _settings, lambda settings: account.use(_api(settings)), functions)


def _get_server_type(account: Account) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`hcloud.getServerType` by its name."""

    def ask(given: dict[str, Any]) -> dict[str, Any]:
        if set(given) != {"name"}:
            raise ProviderError("this stand-in finds a server type by its name: use the official plugin for more")
        found = account.api.once("GET", f"server_types?{urlencode({'name': given['name']})}")["server_types"]
        if not found:
            raise ProviderError(f"server type not found with name '{given['name']}'")
        names = ("id", "name", "description", "category", "cores", "memory", "disk", "architecture")
        return {name: found[0][name] for name in names}

    return ask
