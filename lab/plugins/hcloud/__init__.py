"""The stand-in for the plugin `hcloud`: servers, networks, firewalls and volumes of an emulated Hetzner Cloud."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from .. import sdk
from ..rest import Api
from ..rest_resource import Account
from ..schema import Field
from ..server import Call, Plugin, ProviderError
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
        raise ProviderError("the endpoint and the token must be known before a resource is created")
    if not endpoint or urlsplit(endpoint).hostname == _OFFICIAL:
        raise ProviderError(
            "this stand-in for the plugin hcloud must only be used with emulated clouds, which cost nothing: "
            "set hcloud:endpoint (or HCLOUD_ENDPOINT) to an emulator, or install the official plugin"
        )
    number, unit = _INTERVAL.findall(settings.get("pollInterval", "500ms"))[0]
    return Api(endpoint, token, poll=int(number) / (1 if unit == "s" else 1000))


def _server_type(account: Account) -> Callable[[Call, dict[str, Any]], dict[str, Any]]:
    """`hcloud.getServerType` by name."""

    def ask(call: Call, given: dict[str, Any]) -> dict[str, Any]:
        row = account.api.named(call, "server_types", str(given.get("name") or ""))
        if row is None:
            raise ProviderError(f"Resource (server type) was not found: name={given.get('name')}")
        plain = ("id", "name", "description", "category", "cores", "memory", "disk", "architecture")
        found = {sdk.camel(name): row[name] for name in (*plain, "cpu_type", "storage_type")}
        dates = {"isDeprecated": False, "deprecationAnnounced": "", "unavailableAfter": ""}
        places = ("id", "name", "available", "recommended")
        locations = [{**{name: one[name] for name in places}, **dates} for one in row["locations"]]
        return {**found, **dates, "includedTraffic": 0, "locations": locations}

    return ask


def make_plugin() -> Plugin:
    """The plugin, not yet configured with an account."""
    account = Account()
    resources = {f"hcloud:index/{name}": kind(f"hcloud:index/{name}", account) for name, kind in _TYPES.items()}
    functions = {"hcloud:index/getServerType:getServerType": _server_type(account)}
    return Plugin("hcloud", VERSION, resources, _settings, lambda settings: account.use(_api(settings)), functions)
