"""What AWS refuses and moto accepts: checks before moto's methods, with the error codes that AWS documents.

All of them are called while a request is answered, so the account's lock is held.
"""

import base64
import inspect
import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import wraps
from types import SimpleNamespace
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.responses import instances
from moto.iam.exceptions import NotFoundException

Check = Callable[..., None]
ROOT_SIZE = 8  # GiB, for all images of the catalogue
_USER_DATA = 16384
_RESERVED_FIRST = 4  # network, router, DNS, future; and the last one of a subnet
_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")
_VALID = "Valid are strings less than 256 characters from the following set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
_LARGEST_SUBNET, _SMALLEST_SUBNET = 16, 28


class _Given(SimpleNamespace):
    """The arguments of a call; absent ones are None."""

    def __getattr__(self, name: str) -> Any:
        return None


def install() -> None:
    """Activate the checks."""
    for name, check in _CHECKS.items():
        _before(name, check)
    find = instances.filter_iam_instance_profiles  # type: ignore[attr-defined]

    def found(*args: Any, **kwargs: Any) -> Any:
        try:
            return find(*args, **kwargs)
        except NotFoundException:
            name = kwargs.get("iam_instance_profile_name") or kwargs.get("iam_instance_profile_arn")
            text = f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
            return refuse("InvalidParameterValue", text)

    setattr(instances, "filter_iam_instance_profiles", found)  # noqa: B010 - mypy would object


def refuse(code: str, message: str) -> None:
    """Answer the request with an error.

    Raises:
        EC2ClientError: always.
    """
    raise EC2ClientError(code, message)


def _before(name: str, check: Check) -> None:
    original = getattr(EC2Backend, name)
    signature = inspect.signature(original)
    wanted = set(inspect.signature(check).parameters) - {"region"}

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = {**bound.arguments, **bound.arguments.get("kwargs", {})}
        arguments["given"] = _Given(**arguments)
        check(self, **{one: arguments.get(one) for one in wanted})
        return original(self, *args, **kwargs)

    setattr(EC2Backend, name, method)


# -- launching -------------------------------------------------------------------------------------------------------


def _run_instances(region: Any, given: _Given) -> None:
    if given.user_data is not None and len(base64.b64decode(str(given.user_data))) > _USER_DATA:
        refuse("InvalidParameterValue", f"User data is limited to {_USER_DATA} bytes")
    if given.key_name:
        refuse("InvalidKeyPair.NotFound", "Key pairs are not emulated: create users with the user data")
    image = region.amis.get(given.image_id)
    _fits(given.instance_type, image)
    for row in given.block_device_mappings or []:
        size = int(row["Ebs"].get("VolumeSize") or 0)
        if image and row["DeviceName"] == image.root_device_name and size < ROOT_SIZE:
            text = f"Volume of size {size}GB is smaller than snapshot '{image.ebs_snapshot.id}', expect size >= "
            refuse("InvalidBlockDeviceMapping", f"{text}{ROOT_SIZE}GB")
    own = {"SubnetId": given.subnet_id, "PrivateIpAddress": given.private_ip, "Groups": given.security_group_ids}
    for nic in given.nics or [own]:
        if identity := nic.get("NetworkInterfaceId"):
            card = region.get_network_interface(identity)
            if card.instance:
                refuse("InvalidNetworkInterface.InUse", f"Interface: [{identity}] in use.")
        elif nic.get("SubnetId"):
            subnet = region.get_subnet(nic["SubnetId"])
            _same_network(region, nic.get("Groups") or [], subnet)
            if nic.get("PrivateIpAddress"):
                _address(region, subnet, nic["PrivateIpAddress"])


def _fits(instance_type: str, image: Any) -> None:
    about = INSTANCE_TYPES.get(instance_type)
    if about is None:
        refuse("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
        return
    runs = about["ProcessorInfo"]["SupportedArchitectures"]
    if image and image.architecture not in runs:
        refuse(
            "InvalidParameterValue",
            f"The architecture '{','.join(runs)}' of the specified instance type does not match the architecture "
            f"'{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again.",
        )


def _same_network(region: Any, groups: Iterable[str], subnet: Any) -> None:
    for identity in groups:
        group = region.get_security_group_from_id(identity)
        if group is None:
            refuse("InvalidGroup.NotFound", f"The security group '{identity}' does not exist")
        elif group.vpc_id != subnet.vpc_id:
            text = f"Security group {identity} and subnet {subnet.id} belong to different networks."
            refuse("InvalidParameter", text)


def _address(region: Any, subnet: Any, text: str) -> None:
    address, network = ipaddress.IPv4Address(text), ipaddress.IPv4Network(subnet.cidr_block)
    if address not in network:
        refuse("InvalidParameterValue", f"Address {text} does not fall within the subnet's address range")
    if address in [network[n] for n in range(_RESERVED_FIRST)] or address == network.broadcast_address:
        refuse("InvalidParameterValue", f"Address {text} is in subnet's reserved address range")
    if text in addresses(region, subnet):
        refuse("InvalidIPAddress.InUse", f"Address {text} is in use.")


def addresses(region: Any, subnet: Any) -> set[str]:
    """The private addresses in use in a subnet."""
    nics = [nic for nic in region.enis.values() if nic.subnet.id == subnet.id]
    return {one["PrivateIpAddress"] for nic in nics for one in nic.private_ip_addresses}


def free_address(region: Any, subnet: Any) -> str:
    """The first free private address of a subnet.

    Raises:
        EC2ClientError: none is left.
    """
    taken = addresses(region, subnet)
    for address in list(ipaddress.IPv4Network(subnet.cidr_block).hosts())[_RESERVED_FIRST - 1 :]:
        if str(address) not in taken:
            return str(address)
    raise EC2ClientError("InsufficientFreeAddressesInSubnet", f"{subnet.id} has no free address")


def _only_in(*states: str) -> Check:
    def check(region: Any, instance_ids: list[str]) -> None:
        for instance in region.get_multi_instances_by_id(instance_ids):
            if instance.state not in states:
                text = f"The instance '{instance.id}' is not in a state from which it can be changed: it is "
                refuse("IncorrectInstanceState", f"{text}{instance.state}.")

    return check


# -- networks --------------------------------------------------------------------------------------------------------


def _create_subnet(region: Any, cidr_block: str, availability_zone: str | None) -> None:
    if not _LARGEST_SUBNET <= ipaddress.IPv4Network(cidr_block, strict=False).prefixlen <= _SMALLEST_SUBNET:
        refuse("InvalidSubnet.Range", f"The CIDR '{cidr_block}' is invalid.")
    zones = [zone.name for zone in region.describe_availability_zones()]
    if availability_zone and availability_zone not in zones:
        text = f"Value ({availability_zone}) for parameter availabilityZone is invalid. Subnets can currently only be "
        refuse("InvalidParameterValue", f"{text}created in the following availability zones: {', '.join(zones)}.")


def _create_network_interface(
    region: Any, subnet: Any, private_ip_address: Any, private_ip_addresses: Any, group_ids: list[str] | None
) -> None:
    subnet = region.get_subnet(subnet) if isinstance(subnet, str) else subnet
    wanted = [one["PrivateIpAddress"] if isinstance(one, dict) else one for one in private_ip_addresses or []]
    wanted += [private_ip_address] if isinstance(private_ip_address, str) else []
    for text in wanted:
        _address(region, subnet, text)
    _same_network(region, group_ids or [], subnet)


def _delete_network_interface(region: Any, eni_id: str) -> None:
    card = region.enis.get(eni_id)
    if card and card.instance and card.instance.state != "terminated":
        # During a termination the lab detaches the interface first, so it may go then.
        refuse("InvalidNetworkInterface.InUse", f"Network interface '{eni_id}' is currently in use.")


def _delete_subnet(region: Any, subnet_id: str) -> None:
    if any(nic.subnet.id == subnet_id for nic in region.enis.values()):
        refuse("DependencyViolation", f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")


def _delete_vpc(region: Any, vpc_id: str) -> None:
    groups = [group for group in region.groups.get(vpc_id, {}).values() if group.name != "default"]
    gateways = [one for one in region.internet_gateways.values() if one.vpc and one.vpc.id == vpc_id]
    cards = [nic for nic in region.enis.values() if nic.vpc_id == vpc_id]
    if groups or gateways or cards:
        refuse("DependencyViolation", f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")


def _detach_internet_gateway(region: Any, vpc_id: str) -> None:
    if any(nic.public_ip for nic in region.enis.values() if nic.vpc_id == vpc_id):
        refuse(
            "DependencyViolation",
            f"Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) before "
            "detaching the gateway.",
        )


def _create_nat_gateway(region: Any, subnet_id: str, allocation_id: str | None) -> None:
    if not allocation_id:
        return
    subnet = region.get_subnet(subnet_id)
    if not any(one.vpc and one.vpc.id == subnet.vpc_id for one in region.internet_gateways.values()):
        refuse("Gateway.NotAttached", f"Network {subnet.vpc_id} is not attached to any internet gateway")


def _create_route(region: Any, route_table_id: str, gateway_id: str | None, nat_gateway_id: str | None) -> None:
    table = region.get_route_table(route_table_id)
    if gateway_id and gateway_id.startswith("igw-"):
        gateway = region.internet_gateways.get(gateway_id)
        if gateway is None:
            refuse("InvalidGatewayID.NotFound", f"The gateway ID '{gateway_id}' does not exist")
        elif not gateway.vpc or gateway.vpc.id != table.vpc_id:
            text = f"route table {route_table_id} and network gateway {gateway_id} belong to different networks"
            refuse("InvalidParameterValue", text)
    if nat_gateway_id:
        nat = region.nat_gateways.get(nat_gateway_id)
        if nat is None or nat.state == "deleted":
            refuse("InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat_gateway_id}' does not exist")


def _associate_address(region: Any, instance: Any, eni: Any) -> None:
    card = eni or (instance.nics.get(0) if instance else None)
    if card is None:
        return
    if card.instance and card.instance.state == "pending":
        text = "is not in a valid state for this operation"
        refuse("IncorrectInstanceState", f"The pending instance '{card.instance.id}' {text}")
    if not any(one.vpc and one.vpc.id == card.vpc_id for one in region.internet_gateways.values()):
        refuse("Gateway.NotAttached", f"Network {card.vpc_id} is not attached to any internet gateway")


def _release_address(region: Any, allocation_id: str | None) -> None:
    for one in region.addresses:
        if allocation_id and one.allocation_id == allocation_id and one.association_id:
            refuse("InvalidIPAddress.InUse", f"Address {one.public_ip} is in use.")


# -- security groups -------------------------------------------------------------------------------------------------


def _delete_security_group(region: Any, group_id: str | None) -> None:
    group = region.get_security_group_from_id(group_id) if group_id else None
    if group is None:
        return
    users = [nic for nic in region.enis.values() if any(one.id == group_id for one in nic.group_set)]
    others = [one for groups in region.groups.values() for one in groups.values() if one.id != group_id]
    naming = [
        one
        for one in others
        for rule in (*one.ingress_rules, *one.egress_rules)
        if rule.source_group.get("GroupId") == group_id
    ]
    if users or naming:
        refuse("DependencyViolation", f"resource {group_id} has a dependent object")


def _describe(what: str, text: str | None) -> None:
    if not _DESCRIPTION.fullmatch(text or ""):
        refuse("InvalidParameterValue", f"Invalid {what} description. {_VALID}")


def _create_security_group(region: Any, description: str) -> None:  # noqa: ARG001
    _describe("security group", description)


def _authorize(region: Any, given: _Given) -> None:
    for row in [*(given.ip_ranges or []), *(given.source_groups or [])]:
        _describe("rule", row.get("Description"))
    group = region.get_security_group_from_id(given.group_name_or_id)
    for row in given.source_groups or []:
        other = region.get_security_group_from_id(row.get("GroupId", ""))
        if group and other and other.vpc_id != group.vpc_id:
            refuse("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")


# -- volumes ---------------------------------------------------------------------------------------------------------


def _modify_volume(region: Any, volume_id: str, target_size: Any) -> None:
    volume = region.get_volume(volume_id)
    if target_size and int(target_size) < volume.size:
        text = f"New size cannot be smaller than existing size {volume.size}"
        refuse("InvalidParameterValue", text)


def _attach_volume(region: Any, volume_id: str, instance_id: str) -> None:
    volume, instance = region.get_volume(volume_id), region.get_instance(instance_id)
    if volume.attachment:
        refuse("VolumeInUse", f"{volume_id} is already attached to an instance")
    if volume.zone.name != instance.availability_zone:
        text = f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'"
        refuse("InvalidVolume.ZoneMismatch", text)
    if instance.block_device_mapping and instance.state not in ("running", "stopped", "stopping"):
        refuse("IncorrectState", f"Instance '{instance_id}' is not 'running'.")


def _detach_volume(region: Any, volume_id: str) -> None:
    attachment = region.get_volume(volume_id).attachment
    if attachment is None:
        refuse("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")
        return
    instance = attachment.instance
    if attachment.device == instance.root_device_name and instance.state in ("running", "pending"):
        text = f"Unable to detach root volume '{volume_id}' from instance '{instance.id}'"
        refuse("OperationNotPermitted", text)


_CHECKS: dict[str, Check] = {
    "run_instances": _run_instances,
    "start_instances": _only_in("stopped", "pending", "running"),
    "stop_instances": _only_in("running", "stopping", "stopped"),
    "create_subnet": _create_subnet,
    "create_network_interface": _create_network_interface,
    "delete_network_interface": _delete_network_interface,
    "delete_subnet": _delete_subnet,
    "delete_vpc": _delete_vpc,
    "detach_internet_gateway": _detach_internet_gateway,
    "create_nat_gateway": _create_nat_gateway,
    "create_route": _create_route,
    "associate_address": _associate_address,
    "release_address": _release_address,
    "create_security_group": _create_security_group,
    "delete_security_group": _delete_security_group,
    "authorize_security_group_ingress": _authorize,
    "authorize_security_group_egress": _authorize,
    "modify_volume": _modify_volume,
    "attach_volume": _attach_volume,
    "detach_volume": _detach_volume,
}
