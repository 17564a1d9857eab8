"""Where moto's model and the lab meet: the few methods of moto's that are replaced.

All of them are called while a request is answered, so the account's lock is held.
"""

import copy
from typing import Any

from moto.core.parse import default_timestamp_parser
from moto.ec2.models import EC2Backend, amis, elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import Instance
from moto.ec2.responses.instances import InstanceResponse
from moto.ssm.models import Parameter, ParameterDict

from .. import wires
from . import catalog
from .account import Account
from .server import Server, volume

_ROOT_SIZE = 8  # GiB, of the root volume of all these images


def install(account: Account) -> None:
    """Let moto's instances be machines of the lab, from now on and in all regions."""
    _images()
    _addresses(account)
    _instances(account)
    _volumes(account)


def _images() -> None:
    """The catalogue in place of moto's list of images and of public parameters."""

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

    amis.AmiBackend._load_amis = load  # type: ignore[method-assign]

    new: Any = Parameter
    original = ParameterDict._check_loading_status

    def check(self: Any, key: str) -> None:
        if not self.latest_amis_loaded:
            self.latest_amis_loaded = True
            for image in catalog.images(self.region_name):
                for name in image.parameters:
                    changed = default_timestamp_parser(image.created).timestamp()
                    facts = (self.account_id, name, image.id, "String", None, None, None, changed, 1, "aws:ec2:image")
                    dict.__setitem__(self, name, [new(*facts)])
        original(self, key)

    ParameterDict._check_loading_status = check  # type: ignore[method-assign]


def _addresses(account: Account) -> None:
    """Public addresses of the lab; hardware addresses that stay with the private address."""
    for module, name in ((elastic_network_interfaces, "random_public_ip"), (elastic_ip_addresses, "random_ip")):
        setattr(module, name, account.free_public)
    original = EC2Backend.create_network_interface

    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        nic = original(self, *args, **kwargs)
        nic.mac_address = wires.mac(account.lab.id, str(nic.private_ip_address))
        return nic

    EC2Backend.create_network_interface = create  # type: ignore[method-assign]


def _instances(account: Account) -> None:
    became = {"running": Instance.start, "stopped": Instance.stop, "terminated": Instance.terminate}

    def want(state: str) -> Any:
        def method(self: Any) -> Any:
            previous = copy.copy(self._state)
            now = "running" if state == "running" else "terminated" if state == "terminated" else "stopped"
            if self.state not in (now, "terminated", "shutting-down"):
                account.servers[self.id].want(state)
            return previous

        return method

    def lab_became(self: Any, state: str) -> None:
        if state == "terminated":
            for nic in [nic for nic in self.nics.values() if not nic.delete_on_termination]:
                self.detach_eni(nic)
        became[state](self)

    Instance.start = want("running")  # type: ignore[method-assign]
    Instance.stop = want("stopped")  # type: ignore[method-assign]
    Instance.terminate = want("terminated")  # type: ignore[method-assign]
    Instance.reboot = lambda self: account.servers[self.id].reboot()  # type: ignore[method-assign]
    Instance.lab_became = lab_became  # type: ignore[attr-defined]

    def of_first_card(attribute: str) -> property:
        # One that is terminated has no card any more, and moto would look for it.
        return property(lambda self: getattr(self.nics.get(0), attribute, None))

    for name in ("private_ip", "private_ip_address"):
        setattr(Instance, name, of_first_card("private_ip_address"))
    for name in ("public_ip", "public_ip_address"):
        setattr(Instance, name, of_first_card("public_ip"))
    private_name: Any = Instance.private_dns_name
    named = property(lambda self: private_name.fget(self) if self.nics else "")
    Instance.private_dns_name = named

    original = EC2Backend.run_instances
    asked: dict[str, Any] = {}

    def parsed(self: Any) -> list[dict[str, Any]]:
        # What moto's own does not take from the request is kept for `run`, which follows.
        asked["protected"] = self._get_param("DisableApiTermination") or False
        asked["disks"] = self._get_param("BlockDeviceMappings", [])
        rows = [copy.deepcopy(row) for row in asked["disks"] if "Ebs" in row]
        image = self.ec2_backend.amis.get(self._get_param("ImageId"))
        if image and all(row["DeviceName"] != image.root_device_name for row in rows):
            rows.append({"DeviceName": image.root_device_name, "Ebs": {}})
        for row in rows:
            if image and row["DeviceName"] == image.root_device_name:
                row["Ebs"] = {"VolumeSize": _ROOT_SIZE, "VolumeType": "gp3", "DeleteOnTermination": True, **row["Ebs"]}
        return rows

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = {nic.get("NetworkInterfaceId") for nic in kwargs.get("nics") or []}
        reservation = original(self, *args, **kwargs)
        for instance in reservation.instances:
            instance.disable_api_termination = asked["protected"]
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

    InstanceResponse._parse_block_device_mapping = parsed  # type: ignore[method-assign]
    EC2Backend.run_instances = run  # type: ignore[method-assign]


def _volumes(account: Account) -> None:
    attach, detach = EC2Backend.attach_volume, EC2Backend.detach_volume
    delete, modify = EC2Backend.delete_volume, EC2Backend.modify_volume

    def attached(self: Any, volume_id: str, instance_id: str, *args: Any, **kwargs: Any) -> Any:
        attachment = attach(self, volume_id, instance_id, *args, **kwargs)
        if server := account.servers.get(instance_id):  # none yet while it is being launched
            server.show_disks()
        return attachment

    def detached(self: Any, volume_id: str, instance_id: str, *args: Any, **kwargs: Any) -> Any:
        old = detach(self, volume_id, instance_id, *args, **kwargs)
        server = account.servers[old.instance.id]
        server.pull(volume_id)
        server.show_disks()
        return old

    def deleted(self: Any, volume_id: str) -> Any:
        old = delete(self, volume_id)
        volume(account.lab, volume_id).destroy()
        return old

    def modified(self: Any, volume_id: str, *args: Any, **kwargs: Any) -> Any:
        changed = modify(self, volume_id, *args, **kwargs)
        file = volume(account.lab, volume_id)
        if file.file.exists():
            file.resize(changed.size)
        return changed

    EC2Backend.attach_volume = attached  # type: ignore[method-assign]
    EC2Backend.detach_volume = detached  # type: ignore[method-assign]
    EC2Backend.delete_volume = deleted  # type: ignore[method-assign]
    EC2Backend.modify_volume = modified  # type: ignore[method-assign]
