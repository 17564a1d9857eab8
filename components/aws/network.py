"""AwsNetwork: VPC, subnets, routes to the internet, and the security groups of a cluster."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from ..plan.aws import DEFAULT_VPC, aws_network, aws_subnet
from ..plan.aws_zones import SMALLEST
from ..plan.errors import Problem, refuse
from ..plan.firewall_rules import SSH_PORT
from ..plan.members import CLIENT_PORT, MACHINE_METRICS_PORT, METRICS_PORT, PEER_PORT
from ..plan.ranges import check_inside, check_overlaps, check_private_range
from .security_group_rules import Rules
from .tags import tags

_EVERYWHERE = "0.0.0.0/0"


class AwsSubnet(TypedDict):
    """The subnet of one zone."""

    zone: str
    """Availability zone, like `eu-central-1a`."""
    range: str
    """Its range."""
    id: NotRequired[pulumi.Input[str]]
    """ID of an existing subnet, in an existing VPC. Default: it is created."""


class AwsNetworkArgs(TypedDict):
    """Arguments of `AwsNetwork`."""

    cluster_name: str
    """Name of the cluster: part of the names in the console, and the tag `cluster`."""
    subnets: list[AwsSubnet]
    """One subnet per zone, for the machines."""
    operators: list[str]
    """Ranges from which ssh to the machines is allowed. With a created bastion: none, `AwsBastion` adds its own."""
    vpc_range: NotRequired[str]
    """Range of the created VPC. Default: `10.2.0.0/16`."""
    vpc_id: NotRequired[pulumi.Input[str]]
    """An existing VPC. Its routes and gateways stay as they are. Default: one is created."""
    internet: NotRequired[bool]
    """Whether the subnets have a route to an internet gateway, for machines with public addresses. Default: true."""
    edge_range: NotRequired[str]
    """Range of another subnet, for a bastion and a NAT gateway, with a route to an internet gateway. Default: none."""
    nat_gateway: NotRequired[bool]
    """Whether the machines' subnets reach the internet through a NAT gateway there. Default: false."""
    clients: NotRequired[list[str]]
    """Ranges that can reach port 2379, besides the machines in the clients' security group. Default: none."""
    client_groups: NotRequired[list[str]]
    """IDs of security groups whose machines can also reach port 2379. Default: none."""
    metrics_clients: NotRequired[list[str]]
    """Ranges that can reach ports 2381 and 2382. Default: none."""
    tags: NotRequired[dict[str, str]]
    """More tags. Default: none."""


class AwsNetwork(pulumi.ComponentResource):
    """The network of one cluster, created or existing, and its access rules.

    There are two security groups, for members and for clients. Machines of a control plane join the clients' group to
    reach port 2379 of the members. That group opens no port on them.

    Children: `<name>` (Vpc, InternetGateway, RouteTable, Route), `<name>-<zone>` (Subnet, RouteTableAssociation),
    `<name>-edge` (the subnet of bastion and NAT gateway, and theirs), `<name>-members` and `<name>-clients`
    (SecurityGroup), and a rule each: `<name>-peers`, `<name>-members-clients`, `<name>-clients-clients`,
    `<name>-clients-<group or range>`, `<name>-ssh-<range>`, `<name>-metrics-<range>`, `<name>-members-out`,
    `<name>-clients-out`.

    Raises `plan.PlanError` (a ValueError) on bad arguments, with key, value, rule and remedy.
    """

    vpc_id: pulumi.Output[str]
    """ID of the VPC."""
    subnet_ids: dict[str, pulumi.Output[str]]
    """Zone -> ID of its subnet."""
    edge_subnet_id: pulumi.Output[str] | None
    """ID of the subnet of bastion and NAT gateway, if any."""
    members_group_id: pulumi.Output[str]
    """ID of the security group of the members."""
    clients_group_id: pulumi.Output[str]
    """ID of the security group whose machines can reach port 2379 of the members."""
    origins: dict[str, dict[str, str]]
    """Zone -> `origin` of the machines there, without their volumes."""
    ready: list[pulumi.Resource]
    """Routes and rules, for `depends_on` of resources in the network: created before those and deleted after them.

    The IDs above do not depend on them. Pulumi deletes the dependents of a resource that it deletes before replacement,
    and a changed route must not delete the machines.
    """
    ground: list[pulumi.CustomResource]
    """Created resources that cannot be replaced without the machines."""

    def __init__(self, name: str, args: AwsNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:AwsNetwork", name, None, opts)
        refuse(_check(args))
        self._name, self._args = name, args
        self._cluster = args["cluster_name"]
        # Ranges and destinations are in use until the old resource is gone.
        self._child = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        self.edge_subnet_id = None
        self.ready = []
        vpc = aws_network(vpc_id=args.get("vpc_id"), vpc_range=args.get("vpc_range", DEFAULT_VPC))
        self.origins = {
            each["zone"]: aws_subnet(vpc, zone=each["zone"], subnet_id=each.get("id"), subnet_range=each["range"])
            for each in args["subnets"]
        }
        self.ground = []
        if "vpc_id" in args:
            self.vpc_id = pulumi.Output.from_input(args["vpc_id"])
            self.subnet_ids = {each["zone"]: pulumi.Output.from_input(each.get("id", "")) for each in args["subnets"]}
        else:
            self._make()
        self._groups()
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "subnet_ids": self.subnet_ids,
                "edge_subnet_id": self.edge_subnet_id,
                "members_group_id": self.members_group_id,
                "clients_group_id": self.clients_group_id,
            }
        )

    def _make(self) -> None:
        """Creates a VPC with subnets and routes."""
        args, name, child = self._args, self._name, self._child
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=args.get("vpc_range", DEFAULT_VPC),
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags(self._cluster),
            opts=child,
        )
        self.vpc_id = vpc.id
        self.ground.append(vpc)
        public, edge_range = args.get("internet", True), args.get("edge_range")
        table = aws.ec2.RouteTable(name, vpc_id=vpc.id, tags=self._tags(self._cluster), opts=child)
        if public or edge_range is not None:
            gateway = aws.ec2.InternetGateway(name, vpc_id=vpc.id, tags=self._tags(self._cluster), opts=child)
            if edge_range is not None:
                self.edge_subnet_id = self._edge(gateway, edge_range)
            if public:
                self._route(name, table, gateway_id=gateway.id)
        if args.get("nat_gateway", False) and self.edge_subnet_id is not None:
            self._route(name, table, nat_gateway_id=self._nat(self.edge_subnet_id))
        self.subnet_ids = {
            each["zone"]: self._subnet(f"{name}-{each['zone']}", each["zone"], each["range"], table)
            for each in args["subnets"]
        }

    def _edge(self, gateway: aws.ec2.InternetGateway, edge_range: str) -> pulumi.Output[str]:
        name = f"{self._name}-edge"
        table = aws.ec2.RouteTable(name, vpc_id=self.vpc_id, tags=self._tags(f"{self._cluster}-edge"), opts=self._child)
        self._route(name, table, gateway_id=gateway.id)
        # One zone is enough: the members do not need it to reach each other.
        return self._subnet(name, self._args["subnets"][0]["zone"], edge_range, table)

    def _nat(self, subnet_id: pulumi.Output[str]) -> pulumi.Output[str]:
        name, shown = f"{self._name}-edge", self._tags(f"{self._cluster}-edge")
        address = aws.ec2.Eip(name, domain="vpc", tags=shown, opts=pulumi.ResourceOptions(parent=self))
        # AWS refuses one as long as no internet gateway is attached, which the routes wait for.
        child = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[*self.ready]))
        return aws.ec2.NatGateway(
            name, allocation_id=address.allocation_id, subnet_id=subnet_id, tags=shown, opts=child
        ).id

    def _route(self, name: str, table: aws.ec2.RouteTable, **gateway: pulumi.Output[str]) -> None:
        self.ready.append(
            aws.ec2.Route(
                name, route_table_id=table.id, destination_cidr_block=_EVERYWHERE, opts=self._child, **gateway
            )
        )

    def _subnet(self, name: str, zone: str, range_: str, table: aws.ec2.RouteTable) -> pulumi.Output[str]:
        subnet = aws.ec2.Subnet(
            name,
            vpc_id=self.vpc_id,
            cidr_block=range_,
            availability_zone=zone,
            tags=self._tags(self._cluster + name.removeprefix(self._name)),
            opts=self._child,
        )
        self.ground.append(subnet)
        self.ready.append(
            aws.ec2.RouteTableAssociation(name, route_table_id=table.id, subnet_id=subnet.id, opts=self._child)
        )
        return subnet.id

    def _groups(self) -> None:
        args = self._args
        members = self._group("members", "Members of an etcd cluster")
        clients = self._group("clients", "May use etcd: the machines of a control plane carry this group")
        rules = Rules(self, self._name, self._cluster, args.get("tags", {}))
        self.ready += [
            rules.from_group(members, "peers", PEER_PORT, "peers", members),
            rules.from_group(members, "members-clients", CLIENT_PORT, "clients", members),
            rules.from_group(members, "clients-clients", CLIENT_PORT, "clients", clients),
            *rules.from_ranges(members, "clients", CLIENT_PORT, args.get("clients", [])),
            *rules.from_ranges(members, "ssh", SSH_PORT, args["operators"]),
            *rules.from_ranges(
                members, "metrics", METRICS_PORT, args.get("metrics_clients", []), last=MACHINE_METRICS_PORT
            ),
            *(
                rules.from_group(members, f"clients-{group}", CLIENT_PORT, "clients", group)
                for group in dict.fromkeys(args.get("client_groups", []))
            ),
            rules.out(members, "members-out", None, None),
            rules.out(clients, "clients-out", CLIENT_PORT, members),
        ]
        self.members_group_id, self.clients_group_id = members, clients

    def _group(self, suffix: str, description: str) -> pulumi.Output[str]:
        """A group with a generated name, so that a new one can exist before the old one is gone."""
        return aws.ec2.SecurityGroup(
            f"{self._name}-{suffix}",
            vpc_id=self.vpc_id,
            description=description,
            # The groups refer to each other: without this, neither could be deleted first.
            revoke_rules_on_delete=True,
            tags=self._tags(f"{self._cluster}-{suffix}"),
            opts=pulumi.ResourceOptions(parent=self),
        ).id

    def _tags(self, name: str) -> dict[str, str]:
        return tags(self._cluster, self._args.get("tags", {}), name)


def _check(args: AwsNetworkArgs) -> list[Problem]:
    problems = []
    subnets, vpc_range = args["subnets"], args.get("vpc_range", DEFAULT_VPC)
    if not subnets:
        problems.append(Problem("subnets", "nothing", "There must be a subnet in at least one zone", "Set three zones"))
    beside = [(f"subnets[{index}].range", subnet["range"]) for index, subnet in enumerate(subnets)]
    if "edge_range" in args:
        beside.append(("edge_range", args["edge_range"]))
    for index, subnet in enumerate(subnets):
        if ("id" in subnet) != ("vpc_id" in args):
            rule = "Subnets must have an ID if, and only if, the VPC exists"
            problems.append(Problem(f"subnets[{index}].id", str(subnet.get("id")), rule, "Set vpc_id and all ids"))
    for key, range_ in beside:
        problems += check_private_range(range_, key, longest=SMALLEST)
        if "vpc_id" not in args:
            problems += check_inside(range_, vpc_range, key, "vpc_range")
    problems += check_overlaps(beside)
    if args.get("nat_gateway", False) and "edge_range" not in args:
        rule = "A NAT gateway must have its own subnet"
        problems.append(Problem("edge_range", "nothing", rule, "Set the range of that subnet"))
    return problems
