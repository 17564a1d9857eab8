"""The command line: `python3 -m lab`."""

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.base import ToolError

from . import control_planes, kubernetes
from .clouds import AwsCloud, EmulatedCloud, HetznerCloud
from .errors import LabError
from .lab import REPO, Lab
from .machine import Machine
from .probe import Pace, Probe, ProbeError, as_json, client_tls
from .timeline import timeline

_A_DAY = 86400.0
_EPILOG = """\
examples:
  python3 -m lab up -n 5             five machines, etcd-1 to etcd-5
  python3 -m lab ssh etcd-2          a shell there (the user operator may sudo)
  python3 -m lab ssh etcd-2 -- sudo journalctl -u etcd
  python3 -m lab wipe etcd-2         the machine is lost and replaced by a new one in the same slot
  python3 -m lab probe --svg x.svg   watch the cluster of `make up` while you change it in another terminal
  python3 -m lab down                remove everything
  python3 -m lab kubernetes up --external    control planes of Kubernetes that use the etcd of `make up`
  python3 -m lab --dir .lab/cloud cloud hetzner up    an emulated Hetzner Cloud; `aws`: an emulated AWS

environment:
  LAB_DIR              where the lab keeps its files (default: .lab in the repository)
  LAB_SUBNET           its private /24 (default: a free 10.99.X.0/24)
  LAB_DEBIAN_MIRROR    a Debian archive for the base tree (default: mmdebstrap's default)
  EXTERNAL_ETCD_CACHE  the cache for the base tree and the releases (default: ~/.cache/external-etcd)
"""


_CLOUDS: dict[str, type[EmulatedCloud]] = {cloud.kind: cloud for cloud in (HetznerCloud, AwsCloud)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m lab",
        description="Real machines on this computer, run by systemd-nspawn, to try the program on and to test it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dir", metavar="DIR", help="the lab's directory (default: $LAB_DIR, or .lab in the repository)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    up = commands.add_parser("up", help="create and start missing machines; running ones are left alone")
    number = up.add_mutually_exclusive_group()
    number.add_argument("-n", type=int, default=3, metavar="N", help="how many machines: etcd-1 to etcd-N (default 3)")
    number.add_argument("--names", metavar="A,B,C", help="machine names instead of a number")
    commands.add_parser("down", help="remove everything that the lab has created, also after a crash")
    status = commands.add_parser("status", help="show the machines and their state")
    status.add_argument("--json", action="store_true", help="as JSON")
    ssh = commands.add_parser("ssh", help="open a shell on a machine, or run a command there")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("words", metavar="-- CMD", nargs=argparse.REMAINDER, help="run this command instead of a shell")

    def on_machines(command: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(command, help=text)
        sub.add_argument("names", metavar="NAME", nargs="+")
        return sub

    on_machines("stop", "shut machines down; after 20 s the power is cut")
    on_machines("start", "boot machines again with the data they have")
    on_machines("kill", "cut the power: SIGKILL to the machine's init; the disk stays")
    wipe = on_machines("wipe", "replace machines in their slots: new disk, same name and address")
    wipe.add_argument("--new-host-key", action="store_true", help="also a new ssh host key (default: the same)")
    isolate = on_machines("isolate", "partition machines from all others")
    isolate.add_argument("--all", action="store_true", help="also from this computer: no ssh, no mirror")
    on_machines("heal", "end the partition that `isolate` made")
    probe = commands.add_parser(
        "probe", help="write, read and watch until Ctrl-C or for --seconds, then report losses and pauses"
    )
    probe.add_argument("--endpoints", metavar="URL,URL", help="client URLs (default: those of `make up`'s stack)")
    for name, text in (("ca", "CA certificate"), ("cert", "client certificate"), ("key", "its key")):
        probe.add_argument(f"--{name}", metavar="FILE", help=f"{text}, PEM; goes with --endpoints")
    probe.add_argument("--seconds", type=float, metavar="S", help="end after this time")
    for name, default, text in (
        ("patience", Pace.request, "request timeout"),
        ("pause", Pace.write, "time between two writes"),
    ):
        probe.add_argument(f"--{name}", type=float, default=default, metavar="S", help=f"{text} (%(default)s)")
    probe.add_argument("--svg", metavar="FILE", help="also draw what happened")
    probe.add_argument(
        "--log", metavar="FILE", help="mark the steps that `pulumi up --yes | tee FILE` reports, in the SVG"
    )
    probe.add_argument("--json", action="store_true", help="print the report as JSON")
    cloud = commands.add_parser("cloud", help="an emulated cloud whose servers boot as machines on this computer")
    cloud.add_argument("which", choices=[*_CLOUDS], help="which cloud")
    cloud.add_argument("what", choices=["up", "down", "status"], help="`up` prints the environment that a client needs")
    planes = commands.add_parser("kubernetes", help="control planes on machines of their own")
    planes.add_argument("what", choices=["up", "down"], help="`up` prints how to reach them")
    kinds = planes.add_mutually_exclusive_group()
    kinds.add_argument("--external", action="store_true", help="with the external etcd of `make up`")
    kinds.add_argument("--stacked", type=int, metavar="N", help="N of them (1 to 3), with etcd on each; no `make up`")
    planes.description = "Real control planes, by kubeadm: from the outputs of the stack and nothing else, or stacked."
    planes.epilog = "A larger number adds control planes later. `down` leaves in an external etcd what they stored."
    planes.add_argument("-n", type=int, metavar="N", help="with --external: control-1 to control-N (default 2)")
    mirror = commands.add_parser("mirror", help="show or set what the machines get from http://releases.lab/")
    mirror.add_argument("directory", metavar="DIR", nargs="?", help="serve this directory (default: the cache's etcd/)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 with a message on stderr, or the exit code of ssh."""
    args = _parser().parse_args(argv)
    try:
        return _run(args)
    except (
        LabError,
        ProbeError,
        ToolError,
        OSError,
    ) as error:  # OSError: a full disk, or a file that only root may read
        print(f"lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        next_step = "`lab kubernetes down` removes the control planes"
        if args.command != "kubernetes":
            next_step = "`lab up` continues"
        print(f"lab: interrupted; {next_step}, `lab down` removes everything", file=sys.stderr)
    return 1


def _run(args: argparse.Namespace) -> int:
    lab = Lab(args.dir, say=lambda text: print(text, flush=True))
    match args.command:
        case "up":
            began = time.monotonic()
            wanted = [name.strip() for name in args.names.split(",")] if args.names else args.n
            machines = lab.up(wanted)
            _table([(machine.name, machine.address) for machine in machines])
            print(f"{len(machines)} machines up in {time.monotonic() - began:.1f} s; {lab.machines_file}")
        case "down":
            lab.down()
            print(f"nothing is left of the lab in {lab.dir}")
        case "status":
            _status(lab, as_json=args.json)
        case "cloud":
            _cloud(_CLOUDS[args.which](args.dir, say=lambda text: print(text, flush=True)), args.what)
        case "ssh":
            return _ssh(lab.machine(args.name), args.words)
        case "wipe":
            lab.wipe(*args.names, new_host_key=args.new_host_key)
        case "isolate":
            lab.isolate(*args.names, host_too=args.all)
        case "kubernetes":
            _kubernetes(lab, args)
        case "probe":
            return _probe(lab, args)
        case "mirror":
            print(f"http://releases.lab/ is {lab.mirror(args.directory)}")
        case "stop" | "start" | "kill" | "heal":
            getattr(lab, args.command)(*args.names)
    return 0


def _probe(lab: Lab, args: argparse.Namespace) -> int:
    """Probe a cluster; returns 0 if nothing was lost, out of order, or stale."""
    given = [args.endpoints, args.ca, args.cert, args.key]
    if any(given) and not all(given):
        raise LabError("`lab probe` needs --endpoints, --ca, --cert and --key together, or none of them.")
    with tempfile.TemporaryDirectory() as scratch:
        if not all(given):
            args.endpoints, args.ca, args.cert, args.key = _stack_client(lab, Path(scratch))
        tls = client_tls(args.ca, args.cert, args.key)
    by_address = {f"https://{machine.address}:2379": machine.name for machine in lab.machines.values()}
    probe = Probe(args.endpoints.split(","), tls, names=by_address, pace=Pace(request=args.patience, write=args.pause))
    probe.start()
    if args.log:
        probe.follow(Path(args.log))
    print("probing; stop with Ctrl-C" if args.seconds is None else f"probing for {args.seconds:g} s", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        # Not the longest timeout that threads accept: some kernels refuse a sleep that ends beyond their time range.
        time.sleep(args.seconds if args.seconds is not None else _A_DAY)
    report = probe.finish()
    if args.svg:
        Path(args.svg).write_text(timeline("lab probe", probe.records, report))
    print(as_json(report) if args.json else report)
    return 0 if report.clean else 1


def _kubernetes(lab: Lab, args: argparse.Namespace) -> None:
    if args.what == "down":
        names = kubernetes.down(lab)
        said = f"removed {', '.join(names)}; an external etcd keeps what they stored, under /registry/"
        print(said if names else f"there is no control plane in {lab.dir}")
        return
    if not args.external and args.stacked is None:
        raise LabError("Give `lab kubernetes up --external`, or `--stacked N`.")
    if args.stacked and args.n is not None:
        raise LabError("`--stacked N` is the number of machines. Leave out -n.")
    count = args.stacked or (2 if args.n is None else args.n)
    if count < 1 or args.stacked not in (None, 1, 2, 3):
        raise LabError("Give a number of 1 or more, and at most 3 with --stacked.")
    planes = [f"control-{n}" for n in range(1, count + 1)]
    outputs = None if args.stacked else _stack_outputs(lab)
    control_planes.require_room(lab, outputs, planes)
    if outputs is None:
        found = kubernetes.up_stacked(lab, planes)
    else:
        found = kubernetes.up(lab, outputs["kubeadm"], outputs["kubeadm_script"], planes)
    _table([(machine.name, machine.address) for machine in found])
    print(control_planes.next_things(lab, outputs))


def _stack_outputs(lab: Lab) -> dict[str, Any]:
    """The outputs of the stack that `make up` created, with secrets."""
    environment = lab.dir / "env"
    if not environment.exists():
        raise LabError(f"{environment} is missing. Create a cluster with `make up`.")
    line = f". {shlex.quote(str(environment))} && exec pulumi stack output --json --show-secrets"
    done = subprocess.run(["sh", "-c", line], cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise LabError(
            f"The outputs of the `make up` stack cannot be read: {done.stderr.strip()}\n"
            "Run this as the user who ran `make up`. If its `pulumi up` has failed, run `make up` again."
        )
    return dict(json.loads(done.stdout))


def _stack_client(lab: Lab, directory: Path) -> tuple[str, str, str, str]:
    """Endpoints, and files with CA, certificate and key, of the stack that `make up` created."""
    outputs = _stack_outputs(lab)
    client = outputs["apiserver_etcd_client"]
    texts = {"ca.crt": outputs["ca_cert"], "client.crt": client["certificate"], "client.key": client["private_key"]}
    for name, text in texts.items():
        (directory / name).write_text(text)  # only this user can read the directory, and it is removed soon
    ca, certificate, key = (str(directory / name) for name in texts)
    return ",".join(outputs["endpoints"]), ca, certificate, key


def _status(lab: Lab, *, as_json: bool) -> None:
    rows = lab.status()
    mirrored = lab.mirrored()
    if as_json:
        mirror = str(mirrored) if mirrored else None
        print(json.dumps({"dir": str(lab.dir), "mirror": mirror, "machines": [asdict(row) for row in rows]}, indent=2))
        return
    if not rows:
        print(f"no lab in {lab.dir}")
        return
    _table([("NAME", "ADDRESS", "STATE", "NETWORK", "DISK"), *[tuple(asdict(row).values()) for row in rows]])
    print(f"mirror  http://releases.lab/ is {mirrored or 'not running: `lab up` starts it'}")


def _cloud(cloud: EmulatedCloud, what: str) -> None:
    if what == "down":
        cloud.stop()
        print(f"nothing is left of the cloud in {cloud.lab.dir}")
        return
    if what == "up":
        cloud.start()
    if not cloud.running:
        print(f"no cloud is served in {cloud.lab.dir}")
        return
    for name, value in cloud.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    if what == "status":
        for kind, found in cloud.resources().items():
            print(f"{kind.ljust(16)}  {', '.join(found) or '-'}")


def _ssh(machine: Machine, words: list[str]) -> int:
    words = words[1:] if words[:1] == ["--"] else words
    argv = machine.ssh_argv(*(["-t"] if not words and sys.stdin.isatty() else []))
    sys.stdout.flush()
    os.execvp(argv[0], [*argv, *(["--", *words] if words else [])])  # noqa: S606 - ssh takes over the terminal


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
