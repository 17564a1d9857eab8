"""The existing machines, and who can reach their ports."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.plan import MemberPlan
from components.plan.errors import shown
from components.plan.migration import check_clients
from components.plan.ranges import check_sources
from components.plan.spec import DEFAULT_DATA_DIRECTORY

from ..platform import Machines, data_directory
from ..reading import Reading
from ..ssh_settings import SshLogin, SshSettings


@dataclass(frozen=True)
class HostConfig:
    """One existing machine."""

    name: str
    address: str
    ssh: SshLogin
    identity: str = ""
    data_directory: str = DEFAULT_DATA_DIRECTORY
    extra_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class FirewallConfig:
    """Ranges that can reach the ports of existing machines, besides the members."""

    clients: tuple[str, ...]
    metrics_clients: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostsConfig(Machines):
    """The machines, with all defaults."""

    hosts: tuple[HostConfig, ...] = ()
    firewall: FirewallConfig | None = None
    """None: the machines filter nothing."""

    @property
    def members(self) -> Sequence[MemberPlan]:
        """The slots, for the cluster's plan."""
        return [MemberPlan(each.name, each.address, each.data_directory, each.extra_names) for each in self.hosts]


def read(reading: Reading) -> HostsConfig:
    """The machines; problems are noted."""
    given, key = _given(reading)
    if given is None:
        # The cause has been noted. With the same key, the plan does not report zero members again.
        return HostsConfig(reading.problems[-1].key)
    directory, ssh = data_directory(reading), SshSettings(reading)
    hosts = tuple(
        HostConfig(
            name=machine.get("name", ""),
            address=machine.get("address", ""),
            ssh=ssh.login_of(machine, f"{key}[{index}]"),
            identity=machine.get("identity", ""),
            data_directory=machine.get("dataDirectory", directory),
            extra_names=tuple(machine.get("extraNames", ())),
        )
        for index, machine in enumerate(given)
    )
    _check_logins_differ(reading, hosts, key)
    return HostsConfig(key, hosts, _firewall(reading), data_directory=directory)


def _given(reading: Reading) -> tuple[Sequence[Mapping[str, Any]] | None, str]:
    """The objects of the machines, and their key."""
    given, file = reading.given.get("machines"), reading.given.get("machinesFile")
    if file is not None and given is not None:
        rule = "The machines must be in machines or in machinesFile, not both"
        reading.refuse("machinesFile", shown(file), rule, "Remove one of the two")
    elif file is not None:
        return _from_file(reading, file), f"{file}: machines"
    elif given is None and not any(problem.key.startswith("machines") for problem in reading.problems):
        rule = "The machines must be in machines, or in the file that machinesFile names"
        reading.refuse("machines", "nothing", rule, "Set one of the two; README.md has an example")
    return given, "machines"


def _from_file(reading: Reading, file: str) -> list[Any] | None:
    try:
        document = json.loads(reading.path(file).read_text(encoding="utf-8"))
    except OSError as error:
        remedy = "Correct the path; for the machines of the lab, run: python3 -m lab up"
        reading.refuse("machinesFile", shown(file), f"The file must be readable: {error.strerror}", remedy)
    except ValueError:
        reading.refuse("machinesFile", shown(file), "The file must contain JSON", "See docs/reference.md")
    else:
        return reading.file(document, "machines", file)
    return None


def _check_logins_differ(reading: Reading, hosts: Sequence[HostConfig], at: str) -> None:
    seen: dict[tuple[object, ...], str] = {}
    for index, host in enumerate(hosts):
        ssh = host.ssh
        key = f"{at}[{index}].ssh.host"
        first = seen.setdefault((ssh.host, ssh.port, ssh.bastion and ssh.bastion.host), key)
        # The plan reports a duplicate address.
        if first != key and ssh.host != host.address:
            rule = f"Every machine must have its own ssh host and port; {first} is the same"
            reading.refuse(key, shown(ssh.host), rule, "Correct one of them")


def _firewall(reading: Reading) -> FirewallConfig | None:
    given = reading.given.get("firewall")
    if given is None:
        return None
    lists = {"clients": "2379", "metricsClients": "2381"}
    for name, port in lists.items():
        reading.problems += check_sources(
            given.get(name, ()),
            f"firewall.{name}",
            ports=f"port {port}",
            world=given.get("openToTheWorld", False),
            world_key="firewall.openToTheWorld",
        )
    found = FirewallConfig(*(tuple(given.get(name, ())) for name in lists))
    reading.problems += check_clients(_control_planes(reading), found.clients, "firewall.clients")
    return found


def _control_planes(reading: Reading) -> list[str]:
    """The addresses of the control planes of a migration, if there is one."""
    planes: Sequence[Mapping[str, Any]] = reading.given.get("migration", {}).get("controlPlanes", ())
    return [str(plane.get("address", "")) for plane in planes]
