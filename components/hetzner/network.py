"""HetznerNetwork: the private network of a cluster, its subnet, and the public firewall."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_hcloud as hcloud

from ..plan.errors import Problem, refuse
from ..plan.firewall_rules import SSH_PORT
from ..plan.hetzner import DEFAULT_NETWORK, DEFAULT_SUBNET, ZONES, hetzner_network
from ..plan.ranges import check_inside, check_private_range


class HetznerNetworkArgs(TypedDict):
    """Arguments of `HetznerNetwork`."""

    cluster_name: str
    """Name of the cluster: the name of all created resources, and their label `cluster`."""
    zone: str
    """Network zone: `eu-central`, `us-east`, `us-west` or `ap-southeast`."""
    operators: list[str]
    """Ranges from which ssh is allowed. The public firewall allows nothing else but ICMP."""
    network_range: NotRequired[str]
    """Range of the network. Default: `10.1.0.0/16`."""
    subnet_range: NotRequired[str]
    """Range of the subnet, inside the range of the network. Default: `10.1.1.0/24`."""
    network_id: NotRequired[pulumi.Input[int]]
    """An existing network, in which the subnet is created. Default: one is created."""
    labels: NotRequired[dict[str, str]]
    """More labels. Default: none."""


class HetznerNetwork(pulumi.ComponentResource):
    """The private network of one cluster, its subnet, and the firewall for its machines' public addresses.

    Hetzner's firewalls do not filter private traffic. The machines filter it themselves, see `HetznerMachines`.

    Children, all named `<name>`: `Network` (absent with an existing network), `NetworkSubnet`, `Firewall`.

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy.
    """

    network_id: pulumi.Output[int]
    """ID of the network."""
    subnet_id: pulumi.Output[str]
    """ID of the subnet; resolves when it exists, so that what is attached to it waits."""
    firewall_id: pulumi.Output[int]
    """ID of the firewall."""
    origin: dict[str, str]
    """`origin` of the machines in it, without location and volume."""
    ground: list[pulumi.CustomResource]
    """Created resources that cannot be replaced without the machines."""

    def __init__(self, name: str, args: HetznerNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:HetznerNetwork", name, None, opts)
        network_range = args.get("network_range", DEFAULT_NETWORK)
        subnet_range = args.get("subnet_range", DEFAULT_SUBNET)
        refuse(_check(args["zone"], network_range, subnet_range))
        cluster = args["cluster_name"]
        labels = {**args.get("labels", {}), "etcd": "true", "cluster": cluster}
        # Names are unique in a Hetzner project: a new resource cannot exist before the old one is gone.
        child = pulumi.ResourceOptions(parent=self, delete_before_replace=True)

        self.ground = []
        existing = args.get("network_id")
        self.origin = hetzner_network(
            network_id=existing, network_range=network_range, subnet_range=subnet_range, zone=args["zone"]
        )
        if existing is None:
            network = hcloud.Network(name, name=cluster, ip_range=network_range, labels=labels, opts=child)
            self.network_id = network.id.apply(int)
            self.ground.append(network)
        else:
            self.network_id = pulumi.Output.from_input(existing).apply(int)
        subnet = hcloud.NetworkSubnet(
            name, network_id=self.network_id, type="cloud", network_zone=args["zone"], ip_range=subnet_range, opts=child
        )
        self.subnet_id = subnet.id
        self.ground.append(subnet)
        operators = args["operators"]
        ssh = hcloud.FirewallRuleArgs(
            direction="in",
            protocol="tcp",
            port=str(SSH_PORT),
            source_ips=list(operators),
            description="ssh from the operator",
        )
        # Ping, and the ICMP errors of path MTU discovery.
        icmp = hcloud.FirewallRuleArgs(
            direction="in", protocol="icmp", source_ips=["0.0.0.0/0", "::/0"], description="ping and path MTU"
        )
        firewall = hcloud.Firewall(
            name, name=cluster, rules=[*([ssh] if operators else []), icmp], labels=labels, opts=child
        )
        self.firewall_id = firewall.id.apply(int)
        self.register_outputs(
            {"network_id": self.network_id, "subnet_id": self.subnet_id, "firewall_id": self.firewall_id}
        )


def _check(zone: str, network_range: str, subnet_range: str) -> list[Problem]:
    problems = check_private_range(network_range, "network_range", longest=24)
    problems += check_private_range(subnet_range, "subnet_range", longest=28)
    problems += check_inside(subnet_range, network_range, "subnet_range", "network_range")
    zones = sorted(set(ZONES.values()))
    if zone not in zones:
        rule = f"The network zone must be one of {', '.join(zones)}"
        problems.append(Problem("zone", repr(zone), rule, "Choose one of them"))
    return problems
