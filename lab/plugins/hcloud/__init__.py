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
from ..server import Plugin, ProviderError
from ..wire import UNKNOWN
from .address import PrimaryIp
from .attachment import ServerNetwork
from .base import PACKAGE, Hcloud
from .firewall import Firewall, FirewallAttachment
from .network import Network, NetworkRoute, NetworkSubnet, PlacementGroup, SshKey
from .server import Server
from .volume import Volume, VolumeAttachment

VERSION = "1.43.3"
_OFFICIAL = "api.hetzner.cloud"

_TYPES: Mapping[str, Callable[[str, Account], Hcloud]] = {
    "network:Network": Network,
    "networkSubnet:NetworkSubnet": NetworkSubnet,
    "networkRoute:NetworkRoute": NetworkRoute,
    "sshKey:SshKey": SshKey,
    "placementGroup:PlacementGroup": PlacementGroup,
    "firewall:Firewall": Firewall,
    "firewallAttachment:FirewallAttachment": FirewallAttachment,
    "server:Server": Server,
    "serverNetwork:ServerNetwork": ServerNetwork,
    "volume:Volume": Volume,
    "volumeAttachment:VolumeAttachment": VolumeAttachment,
    "primaryIp:PrimaryIp": PrimaryIp,
}


def _no_token(text: str) -> str | None:
    return None if len(text) == 64 else "entered token is invalid (must be exactly 64 characters long)"


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")


def _no_duration(text: str) -> str | None:
    return None if re.fullmatch(rf"(?:{_DURATION.pattern})+", text) else f"invalid duration {text!r}: write 500ms or 2s"


def _seconds(text: str) -> float:
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in _DURATION.findall(text))


def _settings() -> Mapping[str, Field]:
    fields = sdk.settings(PACKAGE)
    about: Mapping[str, Mapping[str, Any]] = {
        "token": {"secret": True, "rule": _no_token},
        "pollInterval": {"rule": _no_duration},
        "pollFunction": {"choices": ("constant", "exponential")},
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
    exponential = settings.get("pollFunction", "exponential") == "exponential"
    return Api(endpoint, token, poll=_seconds(settings.get("pollInterval", "500ms")), exponential=exponential)


def make_plugin() -> Plugin:
    """The plugin, without an account yet."""
    account = Account()
    resources = {f"hcloud:index/{name}": kind(f"hcloud:index/{name}", account) for name, kind in _TYPES.items()}
    return Plugin("hcloud", VERSION, resources, _settings, lambda settings: account.use(_api(settings)))
