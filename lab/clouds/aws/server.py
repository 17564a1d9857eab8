"""An instance as a machine on this computer. Its state in moto's model follows the machine."""

import base64
import gzip
import ipaddress
import json
import threading
import time
import traceback
from typing import Any

from ... import image
from ...lab import MIRROR_NAME, Lab
from ..guest import BlockDevice, Nic, guest_of
from ..volume import Volume
from .account import Account

_STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
_ON_THE_WAY = {"running": "pending", "stopped": "stopping", "terminated": "shutting-down"}
_SHUTDOWN_SECONDS = 20


def set_state(instance: Any, name: str) -> None:
    """Set the state of an instance."""
    instance._state.name, instance._state.code = name, _STATES[name]


def volume(lab: Lab, identity: str) -> Volume:
    """The volume `identity`."""
    return Volume(lab.dir / "aws" / "volumes" / f"{identity}.img")


def link(identity: str) -> str:
    """The path of the volume `identity` in a guest."""
    return f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{identity.replace('-', '')}"


class Server:
    """One instance. Callers hold the account's lock, except for `_work`."""

    def __init__(self, account: Account, instance: Any) -> None:
        self.instance = instance
        self.guest = guest_of(account.lab, instance.id)
        self._account = account
        self._wanted = self._is = "new"
        self._busy = False
        self._disks: dict[str, int] = {}
        self._removing = threading.Lock()

    def want(self, state: str) -> None:
        """Make it running, stopped or terminated; returns at once."""
        self._wanted = state
        set_state(self.instance, _ON_THE_WAY[state])
        if not self._busy:
            self._busy = True
            threading.Thread(target=self._work, daemon=True).start()

    def notice(self) -> None:
        """Check whether it has shut itself down."""
        if self._busy or self._is != "running" or self.guest.running:
            return
        ends = self.instance.instance_initiated_shutdown_behavior == "terminate"
        self.want("terminated" if ends else "stopped")

    def reboot(self) -> None:
        """Boot it again."""
        self.guest.reboot()

    def show_disks(self) -> None:
        """Show it the volumes that it has now; it may be stopped."""
        if self._is not in ("terminated", "new"):
            self.guest.configure(self._hostname, self._cards(), self._devices())
            if self._is == "running" and not self._busy:
                self.guest.refresh_devices()

    def destroy(self) -> None:
        """Cut its power and remove its disk."""
        self._wanted = self._is = "terminated"
        self._remove()

    def pull(self, identity: str) -> None:
        """Detach a volume from it."""
        volume(self._account.lab, identity).pull(self.guest.init)
        self._disks.pop(identity, None)

    # -- slow work ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._account.lock:
                wanted = self._wanted
                if wanted == self._is:
                    self._busy = False
                    return
            try:
                getattr(self, f"_become_{wanted}")()
                failed = False
            except Exception:  # a machine must never stay in a transitional state
                traceback.print_exc()
                failed = True
            with self._account.lock:
                if failed and wanted == "running":
                    # As EC2 does when a launch fails.
                    self._wanted = "terminated" if self._is == "new" else "stopped"
                    set_state(self.instance, _ON_THE_WAY[self._wanted])
                    continue
                launched, self._is = self._is == "new", wanted
                if wanted == self._wanted and not (launched and wanted == "running"):
                    self.instance.lab_became(wanted)
                elif wanted == self._wanted:
                    set_state(self.instance, wanted)  # moto assigned the public address at creation

    def _become_running(self) -> None:
        with self._account.lock:
            prepared = (self._hostname, self._cards(), self._devices())
        if self._is == "new":
            self._install()
        self.guest.start(*prepared)

    def _become_stopped(self) -> None:
        self._shut_down()

    def _become_terminated(self) -> None:
        if self._is != "new":
            self._shut_down()
        self._remove()

    def _remove(self) -> None:
        with self._removing:  # emptying the account may coincide with a termination
            self.guest.destroy()

    def _shut_down(self) -> None:
        self.guest.press_power_button()  # only once: a second press skips the orderly shutdown
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        while self.guest.running and time.monotonic() < deadline:
            time.sleep(0.05)
        self.guest.cut_power()

    def _install(self) -> None:
        with self._account.lock:
            instance, hostname = self.instance, self._hostname
            data = base64.b64decode(str(instance.user_data or ""))
            mirror = self._account.lab.address
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        meta = {"instance-id": instance.id, "local-hostname": hostname}
        seed = {"meta-data": json.dumps(meta), "user-data": text, "vendor-data": ""}
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"
        self.guest.create(image.ensure(print, image.CLOUD), hostname, seed, hosts + f"{mirror} {MIRROR_NAME}\n")

    # -- properties --------------------------------------------------------------------------------------------------

    @property
    def _hostname(self) -> str:
        return str(self.instance.private_dns_name.partition(".")[0])

    def _cards(self) -> list[Nic]:
        cards = []
        for index, nic in sorted(self.instance.nics.items()):
            subnet = ipaddress.IPv4Network(nic.subnet.cidr_block)
            addresses = tuple(f"{one['PrivateIpAddress']}/{subnet.prefixlen}" for one in nic.private_ip_addresses)
            gateways = (str(subnet[1]),) if index == 0 else ()
            bridge = f"{self._account.lab.id}n{self._account.number(nic.vpc_id)}"
            cable = self._account.cable(nic.id)
            cards.append(Nic(cable, bridge, f"ens{5 + index}", nic.mac_address, 1500, addresses, gateways))
        return cards

    def _devices(self) -> list[BlockDevice]:
        found = []
        for device, block in self.instance.block_device_mapping.items():
            if device == self.instance.root_device_name:
                continue  # the root volume is the machine's tree
            # nvme0n1 would be the root volume; numbers are in the order of attachment until the next boot.
            taken = set(self._disks.values())
            number = self._disks.setdefault(block.volume_id, next(n for n in range(1, 100) if n not in taken))
            disk = volume(self._account.lab, block.volume_id)
            if not disk.file.exists():
                disk.set_size(block.size)
            loop = disk.attach()
            found.append(BlockDevice(loop, f"/dev/nvme{number}n1", link(block.volume_id)))
        return found
