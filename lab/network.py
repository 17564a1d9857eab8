"""The lab's network: one bridge, and partitions in it, which are recorded only in the kernel's nft sets."""

import ipaddress
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import host
from .names import bridge_address

# `between` sees traffic from one machine to another; the computer's own (ssh, the mirror) passes the other two chains.
_TABLE = """
table bridge {lab} {{
  set cut {{ type ifname; }}
  set dark {{ type ifname; }}
  set slow {{ type ifname; }}
  chain between {{
    type filter hook forward priority 0; policy accept;
    iifname @cut drop
    oifname @cut drop
    oifname @slow limit rate over 16 mbytes/second burst 1 mbytes drop
  }}
  chain to_host {{
    type filter hook input priority 0; policy accept;
    iifname @dark drop
  }}
  chain from_host {{
    type filter hook output priority 0; policy accept;
    oifname @dark drop
  }}
}}
"""


@dataclass(frozen=True)
class Network:
    """The network of one lab. `lab` is the name of the bridge and of the nft table."""

    lab: str

    def exists(self) -> bool:
        """Whether the bridge exists."""
        return (Path("/sys/class/net") / self.lab).exists()

    def create(self, subnet: ipaddress.IPv4Network) -> None:
        """Create whatever is missing of bridge, address and table."""
        if not self.exists():
            # A fixed MAC: otherwise it changes with each machine that comes or goes, and breaks the neighbours' ARP.
            mac = "02:" + ":".join(
                f"{byte:02x}" for byte in bytes.fromhex(self.lab.removeprefix("eel")).rjust(5, b"\xee")
            )
            host.call("ip", "link", "add", "name", self.lab, "address", mac, "type", "bridge")
        wanted = f"{bridge_address(subnet)}/{subnet.prefixlen}"
        host.call("ip", "address", "replace", wanted, "dev", self.lab)
        host.call("ip", "link", "set", self.lab, "up")
        if host.call("nft", "list", "table", "bridge", self.lab, check=False).returncode:
            host.call("nft", "-f", "-", stdin=_TABLE.format(lab=self.lab))
        for chain, match in self._passes():
            closed = f"-P {chain} DROP" in host.call("iptables", "-w", "-S", chain, check=False).stdout
            if closed and host.call("iptables", "-w", "-C", chain, *match, check=False).returncode:
                host.call("iptables", "-w", "-I", chain, *match)

    def destroy(self) -> None:
        """Remove all of it."""
        for chain, match in self._passes():
            # -S first: asking about an unused chain with -C would create it.
            while self.lab in host.call("iptables", "-w", "-S", chain, check=False).stdout:
                if host.call("iptables", "-w", "-D", chain, *match, check=False).returncode:
                    break  # a rule for this bridge that the lab did not add
        # The second and third: interfaces and bridges of an emulated cloud in this lab.
        for pattern in (f"vb-{self.lab}-*", f"{self.lab}v*", f"{self.lab}n*"):
            for path in Path("/sys/class/net").glob(pattern):
                host.call("ip", "link", "delete", path.name, check=False)
        for path in Path("/run/netns").glob(f"{self.lab}-*"):  # an emulated cloud's routers
            host.call("ip", "netns", "delete", path.name, check=False)
        if self.exists():
            host.call("ip", "link", "delete", self.lab)
        for table in (self.lab, f"{self.lab}fw"):  # the second: filters of an emulated cloud
            if not host.call("nft", "list", "table", "bridge", table, check=False).returncode:
                host.call("nft", "delete", "table", "bridge", table)

    def cut(self, cable: str, *, host_too: bool) -> None:
        """Drop all traffic between the machine on `cable` and the others, and with the host if `host_too`."""
        commands = [f"add element bridge {self.lab} cut {{ {cable} }}"]
        commands += [f"add element bridge {self.lab} dark {{ {cable} }}"] if host_too else []
        host.call("nft", "-f", "-", stdin="\n".join(commands))

    def slow(self, cable: str) -> None:
        """Limit traffic from the others to the machine on `cable` to 16 MiB per second."""
        host.call("nft", "add", "element", "bridge", self.lab, "slow", "{", cable, "}")

    def mend(self, cable: str) -> None:
        """End all limits on the traffic of the machine on `cable`."""
        for name in ("cut", "dark", "slow"):
            if cable in self._members(name):
                host.call("nft", "delete", "element", "bridge", self.lab, name, "{", cable, "}")

    def cuts(self) -> dict[str, str]:
        """Interfaces with a partition: "isolated" from the other machines, or "unreachable" from the host as well."""
        cuts = dict.fromkeys(self._members("cut"), "isolated")
        cuts.update(dict.fromkeys(self._members("dark"), "unreachable"))
        return cuts

    def _passes(self) -> list[tuple[str, list[str]]]:
        """iptables rules for the lab's traffic, for firewalls that drop by default (Docker, ufw)."""
        if not shutil.which("iptables"):
            return []
        accept = ["-j", "ACCEPT"]
        return [("FORWARD", ["-i", self.lab, "-o", self.lab, *accept]), ("INPUT", ["-i", self.lab, *accept])]

    def _members(self, name: str) -> list[str]:
        listed = host.call("nft", "-j", "list", "set", "bridge", self.lab, name, check=False)
        if listed.returncode:
            return []
        for item in json.loads(listed.stdout)["nftables"]:
            if "set" in item:
                return [str(element) for element in item["set"].get("elem", [])]
        return []
