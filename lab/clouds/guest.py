"""A server of an emulated cloud as a machine of this computer: disk, cloud-init seed, network cards, block devices.

What it is to the cloud (ids, prices, rules) is not known here.
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

_START_SECONDS = 20.0
_SEED = "var/lib/cloud/seed/nocloud"


@dataclass(frozen=True)
class Nic:
    """One network card.

    Attributes:
        cable: Its end on the computer, an interface name.
        bridge: The bridge that the cable is plugged into.
        name: What the guest calls it.
        mac: Its address.
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
        """Where its settings are in the guest."""
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
    """A device of this computer that the guest has, and the link under which it looks for it."""

    loop: Path
    device: str
    link: str

    @property
    def line(self) -> str:
        """As /usr/local/lib/lab/volumes in the guest reads it."""
        number = os.stat(self.loop).st_rdev  # noqa: PTH116 - a device's number
        return f"{self.device} {os.major(number)} {os.minor(number)} {self.link}\n"


class Guest:
    """The machine called `name` towards the computer, with all its files in `directory`."""

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
        """Its first process, waited for while it begins to boot; None when it does not run.

        Raises:
            LabError: it takes too long.
        """
        deadline = time.monotonic() + seconds
        while (init := self.init) is None:
            if not self.running:
                return None
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} did not begin to boot within {seconds:g} s: see {self._log}.")
            time.sleep(0.02)
        return init

    def create(self, base: Path, hostname: str, seed: Mapping[str, str], hosts: str) -> None:
        """Make a new disk from `base`; `seed` are the files of cloud-init's NoCloud data source."""
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
            raise LabError(f"{self.name} ended while it booted: see {self._log}.")

    def configure(self, hostname: str, nics: Sequence[Nic], devices: Sequence[BlockDevice]) -> None:
        """Write down what its next boot finds."""
        self._disk.attach()
        networks = self.root / "etc/systemd/network"
        wanted = {Path(nic.file).name for nic in nics}
        for old in networks.glob("20-*.network"):
            if old.name not in wanted:
                old.unlink()
        for nic in nics:
            (self.root / nic.file).write_text(nic.text)
        (self.root / "etc/lab-volumes").write_text("".join(device.line for device in devices))
        # --network-veth-extra makes the cables at each boot, also when the guest reboots itself; nspawn does not plug
        # them in, so the script does that beside it.
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
        """Give the running guest a further network card."""
        init = self.wait_for_init()
        if init is None or (Path("/sys/class/net") / nic.cable).exists():  # the latter: it has just booted with it
            return
        peer = ("peer", "name", nic.name, "address", nic.mac, "mtu", str(nic.mtu), "netns", str(init))
        host.call("ip", "link", "add", nic.cable, "type", "veth", *peer)
        host.call("ip", "link", "set", nic.cable, "master", nic.bridge, "up")
        # From outside, which needs nothing of a guest that may be in the middle of its boot. What the guest's own
        # systemd-networkd finds in its settings must be the same to the last bit, broadcast address and all: over a
        # difference that the kernel does not let it correct, version 252 runs in circles.
        there = ("nsenter", "-t", str(init), "-n", "ip")
        for address in nic.addresses:
            host.call(*there, "address", "replace", address, "brd", "+", "dev", nic.name)
        host.call(*there, "link", "set", nic.name, "up")

    def unplug(self, nic: Nic) -> None:
        """Take a network card away from the running guest."""
        host.call("ip", "link", "delete", nic.cable, check=False)

    def refresh_devices(self) -> None:
        """Let the running guest see changed block devices."""
        if self.wait_for_init() is not None:
            self.inside("/usr/local/lib/lab/volumes")

    def inside(
        self, *argv: str, stdin: str | None = None, timeout: float = 30, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the guest as its root, through no network.

        Raises:
            LabError: the guest does not run, or the program failed or took too long.
        """
        self.wait_for_init()
        return self._job.inside(*argv, stdin=stdin, timeout=timeout, check=check)

    def press_power_button(self) -> None:
        """Ask the guest for an orderly power off, without waiting."""
        if nspawn := self._job.command("systemd-nspawn"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(nspawn[0], signal.SIGTERM)

    def reboot(self) -> None:
        """Ask the guest to boot again, without waiting."""
        if init := self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, signal.SIGRTMIN + 5)

    def cut_power(self) -> None:
        """End it at once. What is on its disk stays."""
        if init := self._job.guest_init():
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, signal.SIGKILL)
            self._job.wait_gone(2)  # nspawn takes its files under /run with it
        self._job.kill()

    def destroy(self) -> None:
        """Cut its power and remove its disk."""
        self.cut_power()
        disk.forget_root(self.root)
        disk.forget_job(self.name)
        self._disk.destroy()
        for path in (self._boot, self._directory):
            with contextlib.suppress(OSError):
                path.unlink() if path.is_file() else path.rmdir()
