"""Connects moto's model to the lab by replacing a few of moto's methods.

All of them are called while a request is answered, so the account's lock is held.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from moto.core.parse import default_timestamp_parser
from moto.ec2.models import EC2Backend, elastic_ip_addresses, elastic_network_interfaces, nat_gateways
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses.instances import InstanceResponse

from .. import bridges
from . import catalog, refusals
from .account import Account
from .server import Server, volume

Function = TypeVar("Function", bound=Callable[..., Any])


def install(account: Account) -> None:
    """From now on moto's instances in all regions are machines of the lab, and moto is as strict as AWS."""
    _images()
    _networks(account)
    _instances(account)
    _launch(account)
    _volumes(account)
    refusals.install()


def _instead_of(owner: Any, name: str) -> Callable[[Function], Function]:
    def put(function: Function) -> Function:
        if before := getattr(owner, name, None):
            functools.update_wrapper(function, before)  # the refusals read the argument names
        setattr(owner, name, function)
        return function

    return put


def _images() -> None:
    """The catalogue instead of moto's list of images."""

    @_instead_of(EC2Backend, "_load_amis")
    def load(self: Any) -> None:
        for image in catalog.images(self.region_name):
            self.amis[image.id] = Ami(
                self,
                image.id,
                name=image.name,
                description=image.name,
                owner_id=image.release.owner,
                owner_alias="amazon" if image.release.owner == catalog.AMAZON else None,
                public=True,
                virtualization_type="hvm",
                architecture=image.architecture,
                creation_date=default_timestamp_parser(image.created),
                image_location=f"{image.release.owner}/{image.name}",
                hypervisor="xen",
                root_device_type="ebs",
                root_device_name=image.release.root,
                region_name=f"{self.region_name}a",
                boot_mode="uefi" if image.architecture == "arm64" else "uefi-preferred",
            )


def _networks(account: Account) -> None:
    """Public addresses of the lab, free private ones, and MAC addresses that stay with the private address."""
    for module, name in ((elastic_network_interfaces, "random_public_ip"), (elastic_ip_addresses, "random_ip")):
        setattr(module, name, account.free_public)
    _instead_of(nat_gateways, "random_private_ip")(lambda: None)
    _instead_of(Subnet, "get_available_subnet_ip")(
        lambda self, instance: refusals.free_address(self.ec2_backend, self)  # noqa: ARG005
    )
    _instead_of(Subnet, "request_ip")(lambda self, ip, instance: None)  # noqa: ARG005 - interfaces know what is taken
    create: Any = EC2Backend.create_network_interface
    delete, delete_nat = EC2Backend.delete_network_interface, EC2Backend.delete_nat_gateway
    delete_subnet = EC2Backend.delete_subnet

    @_instead_of(EC2Backend, "create_network_interface")
    def created(
        self: Any, subnet: Any, private_ip_address: Any, private_ip_addresses: Any = None, *more: Any, **kwargs: Any
    ) -> Any:
        subnet = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
        chosen = private_ip_address or (None if private_ip_addresses else refusals.free_address(self, subnet))
        nic = create(self, subnet, chosen, private_ip_addresses, *more, **kwargs)
        nic.mac_address = bridges.mac(account.lab.id, str(nic.private_ip_address))
        return nic

    @_instead_of(EC2Backend, "delete_network_interface")
    def deleted(self: Any, eni_id: str) -> None:
        for address in [one for one in self.addresses if one.eni and one.eni.id == eni_id]:
            self.disassociate_address(address=address.public_ip)
        delete(self, eni_id)

    @_instead_of(EC2Backend, "delete_subnet")
    def subnet_deleted(self: Any, subnet_id: str) -> Any:
        for table in self.route_tables.values():
            for row in table.associations:
                if row.get("SubnetId") == subnet_id:
                    self.disassociate_route_table(row["RouteTableAssociationId"])
        return delete_subnet(self, subnet_id)

    @_instead_of(EC2Backend, "delete_nat_gateway")
    def nat_deleted(self: Any, nat_gateway_id: str) -> Any:
        gateway = delete_nat(self, nat_gateway_id)
        self.delete_network_interface(gateway._eni.id)
        return gateway

    def description(self: Any) -> Any:
        # For a rule about another group, moto stores the description but does not return it.
        return (self.source_group or self.ip_range).get("Description")

    setattr(SecurityGroupRule, "description", property(description))  # noqa: B010 - mypy would object


def _instances(account: Account) -> None:
    """Instance states that follow the machines."""
    became = {"running": Instance.start, "stopped": Instance.stop, "terminated": Instance.terminate}

    def want(state: str) -> Callable[[Any], Any]:
        def method(self: Any) -> Any:
            previous = copy.copy(self._state)
            if self.state not in (state, "terminated", "shutting-down"):
                account.servers[self.id].want(state)
            return previous

        return method

    for name, state in (("start", "running"), ("stop", "stopped"), ("terminate", "terminated")):
        _instead_of(Instance, name)(want(state))
    _instead_of(Instance, "reboot")(lambda self: account.servers[self.id].reboot())

    @_instead_of(Instance, "lab_became")
    def lab_became(self: Any, state: str) -> None:
        if state == "terminated":
            for nic in list(self.nics.values()):
                self.detach_eni(nic)
                for address in self.ec2_backend.addresses:
                    address.instance = None if address.instance is self else address.instance
                if nic.delete_on_termination:
                    self.ec2_backend.delete_network_interface(nic.id)
        became[state](self)

    def of_first_card(attribute: str) -> property:
        # A terminated instance has no network interface, and moto would look for it.
        return property(lambda self: getattr(self.nics.get(0), attribute, None))

    for name in ("private_ip", "private_ip_address"):
        setattr(Instance, name, of_first_card("private_ip_address"))
    for name in ("public_ip", "public_ip_address"):
        setattr(Instance, name, of_first_card("public_ip"))
    named: Any = Instance.private_dns_name

    setattr(Instance, "private_dns_name", property(lambda self: named.fget(self) if self.nics else ""))  # noqa: B010


def _launch(account: Account) -> None:
    """Launch parameters that moto ignores, and a machine for every instance."""
    original = EC2Backend.run_instances
    asked: dict[str, Any] = {}

    @_instead_of(InstanceResponse, "_parse_block_device_mapping")
    def parsed(self: Any) -> list[dict[str, Any]]:
        # Kept for `run`, which is called next.
        asked["disks"] = self._get_param("BlockDeviceMappings", [])
        rows = [copy.deepcopy(row) for row in asked["disks"] if "Ebs" in row]
        image = self.ec2_backend.amis.get(self._get_param("ImageId"))
        if image and all(row["DeviceName"] != image.root_device_name for row in rows):
            rows.append({"DeviceName": image.root_device_name, "Ebs": {}})
        for row in rows:
            if image and row["DeviceName"] == image.root_device_name:
                usual = {"VolumeSize": refusals.ROOT_SIZE, "VolumeType": "gp3", "DeleteOnTermination": True}
                row["Ebs"] = {**usual, **row["Ebs"]}
        return rows

    @_instead_of(EC2Backend, "run_instances")
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = {nic.get("NetworkInterfaceId") for nic in kwargs.get("nics") or []}
        reservation = original(self, *args, **kwargs)
        for instance in reservation.instances:
            for row in asked["disks"]:
                block = instance.block_device_mapping.get(row["DeviceName"])
                for key in ("Iops", "Throughput"):
                    if block and key in row.get("Ebs", {}):
                        setattr(self.volumes[block.volume_id], key.lower(), row["Ebs"][key])
            instance._placement.zone = instance.nics[0].subnet.availability_zone
            for nic in instance.nics.values():
                nic.delete_on_termination = nic.id not in given
            server = account.servers[instance.id] = Server(account, instance)
            server.want("running")
        return reservation


def _volumes(account: Account) -> None:
    """Volumes that are attached and detached while a machine runs."""
    attach, detach = EC2Backend.attach_volume, EC2Backend.detach_volume
    delete, modify = EC2Backend.delete_volume, EC2Backend.modify_volume

    @_instead_of(EC2Backend, "attach_volume")
    def attached(self: Any, volume_id: str, instance_id: str, *args: Any, **kwargs: Any) -> Any:
        attachment = attach(self, volume_id, instance_id, *args, **kwargs)
        if server := account.servers.get(instance_id):  # none during the launch
            server.show_disks()
        return attachment

    @_instead_of(EC2Backend, "detach_volume")
    def detached(self: Any, volume_id: str, instance_id: str, *args: Any, **kwargs: Any) -> Any:
        instance_id = instance_id or self.get_volume(volume_id).attachment.instance.id
        old = detach(self, volume_id, instance_id, *args, **kwargs)
        server = account.servers[old.instance.id]
        server.pull(volume_id)
        server.show_disks()
        return old

    @_instead_of(EC2Backend, "delete_volume")
    def deleted(self: Any, volume_id: str) -> Any:
        old = delete(self, volume_id)
        volume(account.lab, volume_id).destroy()
        return old

    @_instead_of(EC2Backend, "modify_volume")
    def modified(self: Any, volume_id: str, *args: Any, **kwargs: Any) -> Any:
        changed = modify(self, volume_id, *args, **kwargs)
        file = volume(account.lab, volume_id)
        if file.file.exists():
            file.set_size(changed.size)
        return changed
