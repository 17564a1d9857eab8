"""A server of an emulated cloud as a machine on this computer: disk, cloud-init seed, interfaces, block devices.

Nothing here depends on a cloud's API (ids, prices, rules).
"""

import contextlib
import os
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import disk, host
from ..disk import Disk
from ..errors import LabError
from ..jobs import Job
from ..lab import Lab

_START_SECONDS = 20.0
_SEED = "var/lib/cloud/seed/nocloud"


@dataclass(frozen=True)
class Nic:
    """A network interface.

    Attributes:
        cable: The host's end of the veth pair.
        bridge: The bridge of that end.
        name: In the guest.
        mac: Its MAC address.
        addresses: With their prefix length.
        gateways: Of its default routes.
    """

    cable: str
    bridge: str
    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The path of its settings in the guest."""
        return f"etc/systemd/network/20-{self.name}.network"

    @property
    def text(self) -> str:
        """The systemd.network file."""
        lines = ["[Match]", f"Name={self.name}", "", "[Link]", f"MACAddress={self.mac}", f"MTUBytes={self.mtu}"]
        lines += ["RequiredForOnline=no", "", "[Network]", "IPv6AcceptRA=no"]
        if not any(":" in address for address in self.addresses):
            lines.append("LinkLocalAddressing=no")
        lines += [f"Address={address}" for address in self.addresses]
        lines += [f"Gateway={gateway}" for gateway in self.gateways]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class BlockDevice:
    """A device of this computer that the guest has, and the guest's link to it."""

    loop: Path
    device: str
    link: str

    @property
    def line(self) -> str:
        """A line for /usr/local/lib/lab/volumes in the guest."""
        number = os.stat(self.loop).st_rdev  # noqa: PTH116 - a device's number
        return f"{self.device} {os.major(number)} {os.minor(number)} {self.link}\n"


class Guest:
    """The machine called `name` on this computer, with all its files in `directory`."""

    def __init__(self, name: str, directory: Path, log: Path) -> None:
        self.name = name
        self._directory = directory
        self._disk = Disk(directory)
        self._job = Job(name)
        self._log = log
        self._boot = directory / "boot.sh"

    @property
    def root(self) -> Path:
        """Its root directory, seen from this computer."""
        return self._disk.root

    @property
    def running(self) -> bool:
        """Whether it is powered on."""
        return self._job.alive()

    @property
    def init(self) -> int | None:
        """See `Job.init`."""
        return self._job.init

    def wait_for_init(self, seconds: float = _START_SECONDS) -> int | None:
        """The pid of its init, once it begins to boot; None if the machine is off.

        Raises:
            LabError: it takes too long.
        """
        deadline = time.monotonic() + seconds
        while (init := self.init) is None:
            if not self.running:
                return None
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} did not begin to boot within {seconds:g} s. See {self._log}.")
            time.sleep(0.02)
        return init

    def create(self, base: Path, hostname: str, seed: Mapping[str, str], hosts: str) -> None:
        """Create a new disk from `base`; `seed` are the files of cloud-init's NoCloud data source."""
        self._directory.mkdir(parents=True, exist_ok=True)
        disk.forget_root(self.root)
        self._disk.create(base)
        root = self.root
        (root / "etc/hostname").write_text(f"{hostname}\n")
        (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        for file in ("etc/hosts", "etc/cloud/templates/hosts.debian.tmpl"):
            (root / file).write_text(hosts)
        (root / _SEED).mkdir(parents=True, exist_ok=True)
        for name, text in seed.items():
            target = root / _SEED / name
            target.touch(mode=0o600)
            target.write_text(text)
        self._disk.complete(base)

    def start(self, hostname: str, nics: Sequence[Nic], devices: Sequence[BlockDevice]) -> None:
        """Power it on."""
        self._disk.attach()
        disk.forget_root(self.root)
        disk.forget_job(self.name)
        self.configure(hostname, nics, devices)
        self._job.start(["/bin/sh", str(self._boot)], self._log)
        if self.wait_for_init() is None:
            raise LabError(f"{self.name} ended while it booted. See {self._log}.")

    def configure(self, hostname: str, nics: Sequence[Nic], devices: Sequence[BlockDevice]) -> None:
        """Write the files for the next boot."""
        self._disk.attach()
        networks = self.root / "etc/systemd/network"
        wanted = {Path(nic.file).name for nic in nics}
        for old in networks.glob("20-*.network"):
            if old.name not in wanted:
                old.unlink()
        for nic in nics:
            file = self.root / nic.file
            # networkd reconfigures an interface if its file is newer.
            if not file.exists() or file.read_text() != nic.text:
                file.write_text(nic.text)
        (self.root / "etc/lab-volumes").write_text("".join(device.line for device in devices))
        # --network-veth-extra creates the veth pairs at each boot, also when the guest reboots itself. nspawn does not
        # add them to bridges, so the script does that in the background.
        lines = ["#!/bin/sh"]
        options = ["--private-network"]
        for nic in nics:
            options.append(f"--network-veth-extra={nic.cable}:{nic.name}")
            lines.append(f"ip link delete {nic.cable} 2>/dev/null")
            plug = f"ip link set dev {nic.cable} master {nic.bridge} up 2>/dev/null"
            lines.append(f"( n=0; until {plug} || [ $n -gt 100 ]; do n=$((n + 1)); sleep 0.05; done ) &")
        argv = ["systemd-nspawn", "--quiet", "--settings=no", "--boot", "--register=no", "--keep-unit"]
        argv += [f"--directory={self.root}", f"--machine={self.name}", f"--hostname={hostname}"]
        argv += ["--resolv-conf=off", "--timezone=off", "--link-journal=no", *options]
        lines.append(f"exec {shlex.join(argv)}")
        self._boot.write_text("\n".join(lines) + "\n")

    def plug(self, nic: Nic) -> None:
        """Add a network interface to the running guest."""
        init = self.wait_for_init()
        if init is None or (Path("/sys/class/net") / nic.cable).exists():  # the latter: it has just booted with it
            return
        # It would give the interface the address that the file had at the last boot.
        self.inside("networkctl", "reload", check=False)
        peer = ("peer", "name", nic.name, "address", nic.mac, "mtu", str(nic.mtu), "netns", str(init))
        host.call("ip", "link", "add", nic.cable, "type", "veth", *peer)
        host.call("ip", "link", "set", nic.cable, "master", nic.bridge, "up")
        # From outside, because the guest may still be booting. The guest's systemd-networkd must find exactly its own
        # settings, including the broadcast address: version 252 loops forever over a difference that the kernel does
        # not let it correct.
        there = ("nsenter", "-t", str(init), "-n", "ip")
        for address in nic.addresses:
            host.call(*there, "address", "replace", address, "brd", "+", "dev", nic.name)
        host.call(*there, "link", "set", nic.name, "up")

    def unplug(self, nic: Nic) -> None:
        """Remove a network interface from the running guest."""
        host.call("ip", "link", "delete", nic.cable, check=False)

    def refresh_devices(self) -> None:
        """Show the running guest changed block devices."""
        if self.wait_for_init() is not None:
            self.inside("/usr/local/lib/lab/volumes")

    def inside(
        self, *argv: str, stdin: str | None = None, timeout: float = 30, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the guest as root, without its network.

        Raises:
            LabError: the guest does not run, or the program failed or took too long.
        """
        self.wait_for_init()
        return self._job.inside(*argv, stdin=stdin, timeout=timeout, check=check)

    def press_power_button(self) -> None:
        """Ask the guest for an orderly shutdown, without waiting."""
        self._job.press_power_button()

    def reboot(self) -> None:
        """Ask the guest to reboot, without waiting."""
        if init := self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, signal.SIGRTMIN + 5)

    def cut_power(self) -> None:
        """End it at once. Its disk stays."""
        self._job.cut_power()

    def destroy(self) -> None:
        """Cut its power and remove its disk."""
        self.cut_power()
        disk.forget_root(self.root)
        disk.forget_job(self.name)
        self._disk.destroy()
        for path in (self._boot, self._directory):
            with contextlib.suppress(OSError):
                path.unlink() if path.is_file() else path.rmdir()


def guest_of(lab: Lab, identity: object) -> Guest:
    """The machine of a cloud's server with that id."""
    name = f"s{str(identity)[-8:]}"
    return Guest(f"{lab.id}-{name}", lab.dir / "machines" / name, lab.dir / "logs" / f"{name}.log")
