"""The desired phase of a control plane, as it arrives: the PLAN argument, and client certificates on standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..protocol.etcd import Membership
from ..shared import spec
from ..shared.errors import NodeError
from . import manifest, places

FORMAT = 1
FILES = ("ca.crt", "client.crt", "client.key")
"""The names of the API server's files for etcd on standard input."""
_NODE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KEYS = {"format", "cluster", "plane", "planes", "members", "client_port", "peer_port", "phase", "flags", "program"}
_JOIN, _LEAVE, _BACK = "join", "leave", "back"
_REMEDY = "Run `pulumi up` with the external-etcd that wrote it."


@dataclass(frozen=True)
class Plan:
    """A control plane, the others, and the members that it gets."""

    cluster: str
    plane: str
    """Name of its node, and of its stacked member."""
    planes: Mapping[str, str]
    """All control planes: name of the node -> private IP address."""
    members: Mapping[str, str]
    """The external members: name -> private IP address."""
    client_port: int
    peer_port: int
    pki: Path = places.PKI
    """Where the stacked member's own certificates are."""
    phase: str = ""
    """The phase that is about to begin; only `inspect` knows it."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """The flags of the external members; only `inspect` knows them."""

    @property
    def leaves(self) -> bool:
        """Whether the stacked members are about to leave."""
        return self.phase == _LEAVE

    @property
    def joins(self) -> bool:
        """Whether the external members join, perhaps on the way back from a later phase."""
        return self.phase == _JOIN

    @property
    def goes_back(self) -> bool:
        """Whether the external members are about to leave the stacked cluster."""
        return self.phase == _BACK

    @property
    def address(self) -> str:
        """This control plane's own address."""
        return self.planes[self.plane]

    @property
    def others(self) -> dict[str, str]:
        """The other control planes, name -> address."""
        return {name: address for name, address in self.planes.items() if name != self.plane}

    @property
    def stacked(self) -> spec.Spec:
        """The stacked cluster without the external members, as a member of ours would know it."""
        return spec.Spec(
            cluster=self.cluster,
            member=self.plane,
            members=self.planes,
            release=spec.Release("", "", {}),
            data_directory="",
            client_port=self.client_port,
            peer_port=self.peer_port,
            metrics_url="",
            quota_bytes=0,
            flags={},
            initial_members=(),
            token="-",  # noqa: S106  none
            data_device="",
            firewall=None,
            root_only=(),
            reads=(),
            issuer="",
            peer_issuer="",
            extra_addresses={},
            stacked=tuple(self.planes),
            users=None,
            raw={},
            pki=self.pki,
        )

    def joined(self, view: Membership) -> list[str]:
        """The external members in a member list."""
        here = self.stacked
        return [name for name, address in self.members.items() if view.of_slot(name, here.peer_url(address))]

    def uses_external(self, servers: str) -> bool:
        """Whether any external member is among the URLs of an API server's flag."""
        return not set(servers.split(",")).isdisjoint(self.endpoints)

    @property
    def endpoints(self) -> list[str]:
        """Client URLs of the external members."""
        return [f"https://{spec.bracketed(address)}:{self.client_port}" for address in self.members.values()]

    @property
    def by_hand(self) -> str:
        """What a person does when no phase can switch the API server any more."""
        files = (places.CA_FILE, places.CERTIFICATE_FILE, places.KEY_FILE)
        values = zip(manifest.FLAGS, [",".join(self.endpoints), *map(str, files)])
        return f"In {places.API_SERVER}, set {' '.join(f'{flag}={value}' for flag, value in values)}, then run again."


def parse(text: str) -> Plan:
    """Reads and checks the PLAN argument.

    Raises:
        NodeError: it is invalid.
    """
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("format") != FORMAT or set(raw) != _KEYS:
            raise ValueError
        plan = Plan(
            cluster=str(raw["cluster"]),
            plane=str(raw["plane"]),
            planes=_addresses(raw["planes"]),
            members=_addresses(raw["members"]),
            client_port=int(raw["client_port"]),
            peer_port=int(raw["peer_port"]),
            phase=str(raw["phase"]),
            flags={str(flag): str(value) for flag, value in raw["flags"].items()},
        )
        if plan.plane not in plan.planes:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NodeError("the plan for this control plane is not understood", _REMEDY) from None
    return plan


def _addresses(raw: Mapping[str, Any]) -> dict[str, str]:
    found = {str(name): spec.address(value) for name, value in raw.items()}
    if not found or not all(_NODE.fullmatch(name) for name in found):
        raise ValueError
    return found


def parse_files(text: str) -> Mapping[str, str]:
    """The API server's files for etcd, from standard input; their content never appears in an error.

    Raises:
        NodeError: they are missing.
    """
    try:
        raw = json.loads(text)
        found = {name: str(raw["files"][name]) for name in FILES}
        if not all("-----BEGIN " in content for content in found.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise NodeError(
            "standard input does not hold the client certificate for the API server",
            "Run `pulumi up`: it passes certificates and keys on standard input.",
        ) from None
    return found
