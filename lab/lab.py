"""A lab: machines, a bridge between them, and a release mirror. `down` removes all of it from the computer."""

import contextlib
import ipaddress
import json
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tools.base import cache
from tools.kubeadm import programs_folder

from . import disk, host, image, names
from .disk import Disk
from .errors import LabError
from .jobs import Job, leftover_jobs
from .machine import PORT, USER, Machine
from .network import Network

REPO = Path(__file__).resolve().parent.parent
MIRROR_NAME = "releases.lab"
_MIRROR_PORT = 80
_BOOT_TIMEOUT = 60.0
_STOP_TIMEOUT = 20.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class MachineStatus:
    """What `lab status` reports about one machine.

    Attributes:
        state: "running", "booting" (it runs, but its sshd does not answer) or "stopped".
        network: "connected", "isolated" from the other machines, or "unreachable" from the host as well.
        disk: "overlay", "copy" or "none".
    """

    name: str
    address: str
    state: str
    network: str
    disk: str


def _silent(_: str) -> None:
    pass


class Lab:
    """The lab in a directory. Creating this object changes nothing; two objects for one directory are the same lab.

    Args:
        directory: The lab's files; default $LAB_DIR, or `.lab` beside this package.
        say: Called with a line of text for each slow step; default: nothing.
    """

    def __init__(self, directory: Path | str | None = None, say: Callable[[str], None] = _silent) -> None:
        chosen = directory or os.environ.get("LAB_DIR") or REPO / ".lab"
        self.dir = Path(chosen).resolve()
        self.id = names.lab_id(self.dir)
        self.network = Network(self.id)
        self._say = say
        self._state_file = self.dir / "lab.json"

    # --- queries -------------------------------------------------------------------------------------------------

    @property
    def machines(self) -> dict[str, Machine]:
        """The lab's machines by name, in the order of their slots. Empty if there is no lab."""
        state = self._state()
        if state is None:
            return {}
        subnet = ipaddress.IPv4Network(state["subnet"])
        found = {}
        for name, slot in sorted(state["slots"].items(), key=lambda item: item[1]):
            with contextlib.suppress(FileNotFoundError):  # an interrupted run has not created this slot's machine yet
                found[name] = Machine(
                    name=name,
                    slot=slot,
                    address=names.machine_address(subnet, slot),
                    key_file=self.dir / "ssh" / "id_ed25519",
                    known_hosts=self.dir / "ssh" / "known_hosts",
                    host_key=self._host_key(name),
                    job=Job(names.job_name(self.id, slot)),
                )
        return found

    def machine(self, name: str) -> Machine:
        """The machine with that name.

        Raises:
            LabError: there is none.
        """
        machines = self.machines
        if name not in machines:
            known = ", ".join(machines) or "none; create some with `lab up`"
            raise LabError(f"There is no machine {name!r} in the lab in {self.dir}. Its machines: {known}.")
        return machines[name]

    def variant(self, name: str) -> image.Variant:
        """What the machine with that name was made from."""
        return image.VARIANTS[self._require_state().get("variants", {}).get(name, image.PLAIN.name)]

    @property
    def address(self) -> str:
        """The computer's address on the lab's bridge.

        Raises:
            LabError: there is no lab.
        """
        return names.bridge_address(self.subnet)

    @property
    def machines_file(self) -> Path:
        """machines.json: how to reach the machines, in the format of the program's `machinesFile`."""
        return self.dir / "machines.json"

    def beside(self, name: str) -> Path:
        """The directory of a machine that is /var/lib/containerd on a control plane."""
        return self._disk(name).beside

    def status(self) -> list[MachineStatus]:
        """The current state of every machine. Takes at most about a second."""
        machines = list(self.machines.values())
        cuts = self.network.cuts()

        def look(machine: Machine) -> MachineStatus:
            state = "stopped"
            if machine.job.alive():
                state = "running" if machine.answers() else "booting"
            cut = cuts.get(names.cable(self.id, machine.slot), "connected")
            if cut == "unreachable" and state == "booting":
                state = "running"  # the host cannot reach its sshd
            return MachineStatus(machine.name, machine.address, state, cut, self._disk(machine.name).kind or "none")

        return _parallel(look, machines)

    # --- the lab as a whole --------------------------------------------------------------------------------------

    def open(self) -> None:
        """Create the lab without machines: its directory, bridge, keys and mirror. Emulated clouds use such a lab.

        Raises:
            LabError: this computer cannot run a lab, or an address range is in use.
        """
        host.require(base_is_cached=True)
        with self._locked():
            self._claim_directory()
            self._claim_network()
            self._operator_key()
            self._start_mirror()

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The address range of the lab's machines.

        Raises:
            LabError: there is no lab.
        """
        return ipaddress.IPv4Network(self._require_state()["subnet"])

    def up(self, wanted: int | Iterable[str] = 3, variant: image.Variant = image.PLAIN) -> list[Machine]:
        """Create and start missing machines; running ones are left alone.

        Args:
            wanted: How many machines (named etcd-1, etcd-2, ...), or their names. Machines beyond those stay.
            variant: What new machines are made from. Only plain ones are listed in machines.json.

        Returns:
            The requested machines, each with an sshd that answers.

        Raises:
            LabError: this computer cannot run a lab, an address range is in use, or a machine does not boot.
        """
        host.require(base_is_cached=True)  # before the first access to a cache that only root may read
        host.require(base_is_cached=image.path(variant).is_dir())
        asked = names.check_names([f"etcd-{n}" for n in range(1, wanted + 1)] if isinstance(wanted, int) else wanted)
        if not asked:
            raise LabError("No machine was requested. Give a number of 1 or more, or names.")
        with self._locked():
            self._claim_directory()
            base = image.ensure(self._say, variant)
            self._claim_network()
            self._assign(asked, variant)
            self._operator_key()
            self._start_mirror()
            state = self._state() or {}
            new = [name for name in asked if self._disk(name).kind is None]
            _parallel(lambda name: self._create(name, int(state["slots"][name]), base), new)
            self._write_lists()
            machines = self.machines
            todo = [machines[name] for name in asked if not machines[name].job.alive()]
            if todo:
                disks = " and ".join(sorted({self._disk(machine.name).kind or "" for machine in todo}))
                self._say(f"starting {', '.join(machine.name for machine in todo)} (disks: {disks})")
            self._boot(todo)
            self._wait([machines[name] for name in asked])
            return [machines[name] for name in asked]

    def down(self) -> None:
        """Remove everything that the lab has created on this computer, also after a crash.

        Raises:
            LabError: not root on Linux, or a process does not end.
        """
        host.require(base_is_cached=True)
        with self._locked():
            _parallel(lambda job: job.kill(), leftover_jobs(self.id))
            for root in (self.dir / "machines").glob("*/root"):
                disk.forget_root(root)
            disk.forget_job(f"{self.id}-*")
            disk.unmount_below(self.dir)
            for loop in disk.loops_below(self.dir):
                host.call("losetup", "--detach", loop, check=False)
            with host.register():
                self.network.destroy()
                host.leave(self.id)
            if self._state_file.exists() or self.dir == REPO / ".lab":
                # The state file goes last, so that an interrupted `down` can be repeated.
                for path in sorted(self.dir.glob("*"), key=lambda path: path == self._state_file):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                with contextlib.suppress(OSError):
                    self.dir.rmdir()

    def mirror(self, directory: Path | str | None = None) -> Path:
        """Serve `directory` to the machines as http://releases.lab/ and return it (default: etcd/ in the cache).

        Raises:
            LabError: the directory or the lab is missing, or port 80 of the bridge's address is in use.
        """
        with self._locked():
            chosen = Path(directory or cache() / "etcd").resolve()
            if directory and not chosen.is_dir():
                raise LabError(f"{chosen} is not a directory and cannot be served.")
            self._require_state()
            self._mirror_job.kill()
            self._start_mirror(chosen)
        return chosen

    def mirrored(self) -> Path | None:
        """The directory that the mirror serves; None if the mirror is not running."""
        found = self._mirror_job.command("mirror.py")
        return Path(found[1][-1]) if found else None

    # --- single machines -----------------------------------------------------------------------------------------

    def start(self, *which: str) -> None:
        """Boot stopped machines with the data they have, and wait for their sshd."""
        with self._locked():
            machines = self._which(which)
            for machine in machines:
                if self._disk(machine.name).kind is None:
                    raise LabError(f"{machine.name} has no complete disk. Use `lab wipe {machine.name}`.")
            self._boot([machine for machine in machines if not machine.job.alive()])
            self._wait(machines)

    def stop(self, *which: str) -> None:
        """Shut machines down; after 20 s their power is cut."""
        with self._locked():
            _parallel(self._stop, self._which(which))

    def kill(self, *which: str) -> None:
        """Cut the power of machines: SIGKILL to the guest's init. Their disks stay."""
        with self._locked():
            _parallel(lambda machine: machine.job.cut_power(), self._which(which))

    def keep(self, label: str, *which: str) -> None:
        """Save the disks of stopped machines under a label, for `wipe` with `kept`.

        Raises:
            LabError: one of them runs.
        """
        with self._locked():
            machines = self._which(which)
            if running := [machine.name for machine in machines if machine.job.alive()]:
                raise LabError(f"{', '.join(running)} must be stopped before the disk is saved. Use `lab stop`.")
            if other := [machine.name for machine in machines if self.variant(machine.name) is not image.PLAIN]:
                raise LabError(f"{', '.join(other)}: only disks of plain machines can be saved.")
            base = image.ensure(self._say)
            for machine in machines:
                place = self._kept(machine.name, label)
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                for file in _pair(self._key_pair(machine.name)):
                    shutil.copy(file, place)
                disk.forget_root(self._disk(machine.name).root)
                self._disk(machine.name).keep(place / "disk")
                self._create(machine.name, machine.slot, base, label)

    def wipe(self, *which: str, new_host_key: bool = False, start: bool = True, kept: str = "") -> None:
        """Replace machines in their slots: new disk and machine id; same name, address and (by default) host key.

        A partition made by `isolate` stays. With `start` False the new machines stay off. With `kept` the machines get
        the disks that `keep` saved under this label instead of new ones.
        """
        if not which:
            return
        with self._locked():
            machines = self._which(which)
            bases = {machine.name: image.ensure(self._say, self.variant(machine.name)) for machine in machines}

            def renew(machine: Machine) -> None:
                machine.job.cut_power()
                disk.forget_root(self._disk(machine.name).root)
                if new_host_key:
                    self._key_pair(machine.name).unlink(missing_ok=True)
                self._create(machine.name, machine.slot, bases[machine.name], kept)

            _parallel(renew, machines)
            self._write_lists()
            if start:
                machines = self._which(which)
                self._boot(machines)
                self._wait(machines)

    def remove(self, *which: str) -> None:
        """Cut the power of machines and remove them; the others stay. Unknown names are ignored."""
        with self._locked():
            machines = [machine for name, machine in self.machines.items() if name in which]
            for machine in machines:
                machine.job.cut_power()
                disk.forget_root(self._disk(machine.name).root)
                disk.forget_job(machine.job.name)
                self._disk(machine.name).destroy()
                self.network.mend(names.cable(self.id, machine.slot))
            state = self._state()
            if machines and state:
                for machine in machines:
                    del state["slots"][machine.name]
                    state.get("variants", {}).pop(machine.name, None)
                    shutil.rmtree(self.dir / "machines" / machine.name)
                _write_json(self._state_file, state)
                self._write_lists()

    def isolate(self, *which: str, host_too: bool = False) -> None:
        """Partition these machines from all others; with `host_too` also from the host (ssh, the mirror)."""
        for machine in self._which(which):
            self.network.cut(names.cable(self.id, machine.slot), host_too=host_too)

    def slow(self, *which: str) -> None:
        """Limit traffic from all others to these machines to 16 MiB per second."""
        for machine in self._which(which):
            self.network.slow(names.cable(self.id, machine.slot))

    def heal(self, *which: str) -> None:
        """End what `isolate` and `slow` did."""
        for machine in self._which(which):
            self.network.mend(names.cable(self.id, machine.slot))

    # --- internals -----------------------------------------------------------------------------------------------

    @property
    def _lock_file(self) -> Path:
        return host.RUN / f"{self.id}.lock"

    @property
    def _mirror_job(self) -> Job:
        return Job(f"{self.id}-mirror")

    def _disk(self, name: str) -> Disk:
        return Disk(self.dir / "machines" / name)

    def _key_pair(self, name: str) -> Path:
        return self.dir / "machines" / name / "ssh_host_ed25519_key"

    def _kept(self, name: str, label: str) -> Path:
        return self.dir / "machines" / name / "kept" / label

    def _host_key(self, name: str) -> str:
        return " ".join(self._key_pair(name).with_suffix(".pub").read_text().split()[:2])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        host.require(base_is_cached=True)
        try:
            with host.locked(self._lock_file):
                try:
                    yield
                finally:
                    if not self._state_file.exists():  # there is no lab (any more): leave no lock file behind
                        self._lock_file.unlink(missing_ok=True)
        finally:
            host.tidy()

    def _state(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self._state_file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise LabError(
                f"{self._state_file} cannot be read ({error}). Run `lab down`, which does not need this file."
            ) from None
        return state

    def _require_state(self) -> dict[str, Any]:
        state = self._state()
        if state is None:
            raise LabError(f"There is no lab in {self.dir}. Create one with `lab up`.")
        return state

    def _which(self, which: Sequence[str]) -> list[Machine]:
        return [self.machine(name) for name in dict.fromkeys(which)]

    def _claim_directory(self) -> None:
        """Refuse a directory with foreign files: `down` removes everything in a lab's directory."""
        default = self.dir == REPO / ".lab"
        if self.dir.is_dir() and any(self.dir.iterdir()) and not self._state_file.exists() and not default:
            raise LabError(f"{self.dir} has files that are not a lab's. Give an empty or new directory with --dir.")
        self.dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self._state_file.exists():
            self._state()  # raises if it cannot be read

    def _claim_network(self) -> None:
        state = self._state() or {"format": 1, "slots": {}}
        wanted = os.environ.get("LAB_SUBNET")
        recorded = state.get("subnet")
        if recorded and wanted and names.parse_subnet(wanted) != ipaddress.IPv4Network(recorded):
            raise LabError(
                f"LAB_SUBNET is {wanted}, but this lab has {recorded}. Run `lab down` first, or unset LAB_SUBNET."
            )
        with host.register():
            taken = host.taken_networks(but=self.id)
            if recorded and (owner := names.overlap(ipaddress.IPv4Network(recorded), taken)):
                raise LabError(f"This lab's range {recorded} is now in use by {owner}. Run `lab down`, then `lab up`.")
            for entry in host.entries():
                if entry.lab == self.id and entry.directory != str(self.dir):
                    raise LabError(f"The lab in {entry.directory} has the same id {self.id}. Give another --dir.")
            subnet = ipaddress.IPv4Network(recorded) if recorded else names.choose_subnet(self.id, taken, wanted)
            # Written before the bridge exists: after a crash in between, the next register() cleans up.
            _write_json(self._state_file, {**state, "subnet": str(subnet)})
            self.network.create(subnet)
            host.enter(host.Entry(self.id, str(self.dir), subnet))

    def _assign(self, asked: list[str], variant: image.Variant) -> None:
        state = self._require_state()
        if other := [name for name in asked if name in state["slots"] and self.variant(name) is not variant]:
            raise LabError(f"{', '.join(other)} exists as another kind of machine. Choose another name.")
        if variant is not image.PLAIN:
            state.setdefault("variants", {}).update(dict.fromkeys(asked, variant.name))
        state["slots"].update(names.assign_slots(asked, state["slots"]))
        _write_json(self._state_file, state)

    def _operator_key(self) -> None:
        key = self.dir / "ssh" / "id_ed25519"
        key.parent.mkdir(mode=0o755, exist_ok=True)
        _make_key(key, "operator of the lab")

    def _start_mirror(self, directory: Path | None = None) -> None:
        if self._mirror_job.alive():
            return
        served = directory or cache() / "etcd"
        served.mkdir(parents=True, exist_ok=True)
        log = self.dir / "logs" / "mirror.log"
        program = Path(__file__).with_name("mirror.py")
        self._mirror_job.start([sys.executable, "-I", str(program), self.address, str(_MIRROR_PORT), str(served)], log)
        deadline = time.monotonic() + 10
        while not _listens(self.address, _MIRROR_PORT):
            if not self._mirror_job.alive() or time.monotonic() > deadline:
                raise LabError(f"The release mirror did not start: {_tail(log, 1)}. Free that port, or see {log}.")
            time.sleep(0.02)

    def _create(self, name: str, slot: int, base: Path, kept: str = "") -> None:
        """A new disk with the machine's identity on it, or one that was saved under a label."""
        home = self.dir / "machines" / name
        home.mkdir(parents=True, exist_ok=True)
        key, new = self._key_pair(name), self._disk(name)
        if kept:
            place = self._kept(name, kept)
            for file in _pair(key):
                shutil.copy(place / file.name, file)
            new.create(base, place / "disk")
            self._write_hosts(name)
            new.complete(base, place / "disk")
            return
        _make_key(key, name)
        new.create(base)
        root, subnet = new.root, ipaddress.IPv4Network(self._require_state()["subnet"])
        (root / "etc/hostname").write_text(f"{name}\n")
        # Set here, because otherwise the first boot would also apply every unit's preset, which is slow.
        (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (root / "etc/systemd/network/10-lab.network").write_text(
            "[Match]\nName=host0\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
            f"Address={names.machine_address(subnet, slot)}/{subnet.prefixlen}\n"
        )
        for file in _pair(key):
            shutil.copy(file, root / "etc/ssh")
        authorised = root / "home/operator/.ssh/authorized_keys"
        shutil.copy(self.dir / "ssh" / "id_ed25519.pub", authorised)
        owner = authorised.parent.stat()
        os.chown(authorised, owner.st_uid, owner.st_gid)
        authorised.chmod(0o600)
        self._write_hosts(name)
        new.complete(base)

    def _write_hosts(self, name: str) -> None:
        state = self._require_state()
        subnet = ipaddress.IPv4Network(state["subnet"])
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", f"{names.bridge_address(subnet)} {MIRROR_NAME}"]
        lines += [f"{names.machine_address(subnet, slot)} {other}" for other, slot in state["slots"].items()]
        file = self._disk(name).root / "etc/hosts"
        text = "\n".join(lines) + "\n"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)

    def _write_lists(self) -> None:
        """machines.json, known_hosts, and every machine's /etc/hosts."""
        machines = self.machines
        key = self.dir / "ssh" / "id_ed25519"
        shown = str(key.relative_to(REPO)) if key.is_relative_to(REPO) else str(key)
        rows = [
            {
                "name": machine.name,
                "address": machine.address,
                "ssh": {
                    "host": machine.address,
                    "port": PORT,
                    "user": USER,
                    "privateKeyFile": shown,
                    "hostKey": machine.host_key,
                },
            }
            for machine in machines.values()
            if self.variant(machine.name) is image.PLAIN
        ]
        _write_json(self.machines_file, {"machines": rows})
        known = self.dir / "ssh" / "known_hosts"
        _write(known, "".join(f"{machine.address} {machine.host_key}\n" for machine in machines.values()))
        for name in machines:
            if self._disk(name).root.is_dir() and self._disk(name).kind:
                self._disk(name).attach()
                self._write_hosts(name)
        host.give_to_caller([self.dir, key.parent, key, known, self.machines_file])

    def _boot(self, machines: Sequence[Machine]) -> None:
        if not self.network.exists():  # the computer was rebooted since `up`
            self._claim_network()
            self._start_mirror()
        _parallel(self._boot_one, machines)

    def _boot_one(self, machine: Machine) -> None:
        job, its_disk = machine.job, self._disk(machine.name)
        its_disk.attach()
        disk.forget_root(its_disk.root)
        disk.forget_job(job.name)
        # No --private-users: tests see the real owner of etcd's files. --keep-unit and --register=no: the job is the
        # unit, and no machined is needed.
        argv = ["systemd-nspawn", "--quiet", "--settings=no", "--boot", "--register=no", "--keep-unit"]
        argv += [f"--directory={its_disk.root}", f"--machine={job.name}", f"--hostname={machine.name}"]
        argv += [f"--network-bridge={self.id}", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        if self.variant(machine.name) is image.KUBERNETES:
            its_disk.beside.mkdir(exist_ok=True)
            argv += [f"--bind={its_disk.beside}:/var/lib/containerd"]
            argv += [f"--bind-ro={programs_folder()}:{image.KUBERNETES_PROGRAMS}"]
        job.start(argv, self.dir / "logs" / f"{machine.name}.log")

    def _wait(self, machines: Sequence[Machine]) -> None:
        _parallel(self._wait_one, machines)

    def _wait_one(self, machine: Machine) -> None:
        job, log = machine.job, self.dir / "logs" / f"{machine.name}.log"
        if names.cable(self.id, machine.slot) in self.network.cuts() and not machine.answers():
            return  # partitioned from the host: it cannot be checked
        deadline = time.monotonic() + _BOOT_TIMEOUT
        while not machine.answers():
            if not job.alive():
                raise LabError(f"{machine.name} ended while it booted. The end of {log}:\n{_tail(log)}")
            if time.monotonic() > deadline:
                raise LabError(f"{machine.name} has no sshd after {_BOOT_TIMEOUT:g} s. The end of {log}:\n{_tail(log)}")
            time.sleep(0.05)

    def _stop(self, machine: Machine) -> None:
        if machine.job.press_power_button() and not machine.job.wait_gone(_STOP_TIMEOUT):
            self._say(f"{machine.name} did not shut down within {_STOP_TIMEOUT:g} s: its power is cut")
        machine.job.cut_power()


def _parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply `function` to all items concurrently; raises the first error after all have ended."""
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=min(len(items), 16)) as pool:
        return list(pool.map(function, items))


def _pair(key: Path) -> tuple[Path, Path]:
    return key, key.with_suffix(".pub")


def _make_key(path: Path, comment: str) -> None:
    public = path.with_suffix(".pub")
    if path.exists() and public.exists():
        return
    path.unlink(missing_ok=True)
    host.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def _tail(file: Path, lines: int = 12) -> str:
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(file.read_text(errors="replace").strip().splitlines()[-lines:])
    return "(no log)"


def _write(path: Path, text: str) -> None:
    """Replace a file atomically: an interrupted run leaves the old one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _write_json(path: Path, content: object) -> None:
    _write(path, json.dumps(content, indent=2) + "\n")
