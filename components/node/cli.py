"""The command line of etcd-node.

Each verb loads only the modules that it needs: Python's start time is part of every step.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from .shared import lock, paths, say, spec, written
from .shared.errors import NodeError
from .shared.limits import DEADLINES

_USAGE = """\
etcd-node manages this machine's member of an etcd cluster for external-etcd.

For people:
  etcd-node status [--json]   the member, its cluster, certificates and data
  etcd-node top [--once]      the cluster at work on one screen, drawn again each second: roles, delays, data, changes
  etcd-node drift [--json]    what differs on this machine from what was installed
  etcd-node snapshot          take a snapshot now, encrypt it, and keep it where `backup` says
  etcd-node drill             prove now that the newest snapshot, if this machine has stored it, can be restored
  etcd-node retire CLUSTER    remove the member from this machine; its data are moved aside
  etcd-node defragment [--now] give free space of this member's database back, if the rule says so, or now
  etcd-node recover-space     recover from a full database (alarm NOSPACE): compact, defragment all members, disarm

For `pulumi up` (SPEC is the desired configuration as JSON; certificates and keys come on standard input):
  etcd-node prepare SPEC      check the machine and install; running members are not affected
  etcd-node bootstrap SPEC    permit the start of a cluster that has never existed
  etcd-node find SPEC         print the name of the snapshot in the store from which the cluster is restored
  etcd-node stage SPEC        restore a snapshot beside the member's data; nothing stops
  etcd-node restore SPEC      stop the member, and put the restored data in place; the old ones are moved aside
  etcd-node start SPEC        start etcd with the restored data
  etcd-node converge SPEC     bring the member to its desired configuration
  etcd-node health SPEC       examine the whole cluster
  etcd-node drain MEMBER      check that the cluster tolerates the loss of that member's machine, or fail

For `pulumi up` on the control planes of a migration (PLAN is what it needs to know as JSON):
  etcd-node inspect PLAN      check whether it can be migrated; changes nothing
  etcd-node reach PLAN        check that it reaches the machines of the external members, before the first joins
  etcd-node authority PLAN    print the CA of its stacked etcd, with its key
  etcd-node switch PLAN       its API server uses the external members
  etcd-node switch-back PLAN  its API server uses its stacked member again
  etcd-node leave PLAN        remove the manifest of its stacked member, which has left the cluster
  etcd-node configure PLAN    change kubeadm's configuration to the external members
  etcd-node back PLAN         the external members leave the stacked cluster
  etcd-node stand-alone PLAN  check that they are not in it, or fail
  etcd-node retire-plane PLAN remove etcd-node

For systemd:
  etcd-node snapshot --scheduled  the same on one of the members, when their timers go off
  etcd-node drill --scheduled     the same, in the unit that has its limits
  etcd-node answer MEMBERS    answer the other members on etcd's ports, before etcd runs
  etcd-node narrow            close the ports of etcd to members that have left the cluster
  etcd-node metrics [DIR]     print the metrics of this machine, or write them to a file in DIR
  etcd-node maintain          do by itself what the configuration says: defragment, recover space
  etcd-node watch-firewall    reload etcd's firewall rules when they were flushed
"""


def run() -> NoReturn:
    """Runs `main` and ends the process, without the time that Python takes to free every module."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns 0, or 1 with a sentence on stderr.

    With `--answer` before the verb it returns `ANSWERED` instead of 0: the caller can then tell success from a lost
    answer.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    marked = words[:1] == ["--answer"]
    if marked:
        del words[0]
    if not words or words[0] in ("help", "-h", "--help"):
        print(_USAGE, end="")
        return 0 if words else 1
    try:
        _run(words[0], words[1:])
    except NodeError as error:
        from .service.manager import advice

        print(f"etcd-node: {say.current_member() or os.uname().nodename}: {advice(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"etcd-node: {say.current_member() or os.uname().nodename}: a file could not be read or written "
            f"({error}), in the phase: {say.current_phase()}. Free space or check the disk (`df -h`, `dmesg`), then "
            f"run again: it resumes from here.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("etcd-node: interrupted; run again, it resumes from here", file=sys.stderr)
        return 1
    finally:
        written.save()
    return paths.ANSWERED if marked else 0


def _run(verb: str, words: list[str]) -> None:
    if verb not in (*DEADLINES, "top", "narrow", "answer", "watch-firewall"):
        raise NodeError(f"there is no verb {verb!r}", "See `etcd-node help`.")
    if os.geteuid() != 0:
        raise NodeError(f"`etcd-node {verb}` needs root", f"Run `sudo etcd-node {' '.join([verb, *words])[:60]}`.")
    asked = {"status": _status, "top": _top, "metrics": _metrics, "drift": _drift}
    asked |= {"snapshot": _snapshot, "drill": _drill}
    asked |= {name: partial(_space, name) for name in ("defragment", "recover-space", "maintain")}
    if verb in asked:
        asked[verb](words)
        return
    if verb == "narrow":
        from .machine.nftables import narrow

        narrow()
        return
    if verb == "answer" and len(words) == 1:
        from .machine.network import answer

        answer(words[0])
        return
    if verb == "watch-firewall":
        from .machine.nftables_watch import watch

        watch()
        return
    # `pulumi destroy` also passes the operator of the stack, and the member.
    most = 3 if verb == "retire" else 1
    if not 1 <= len(words) <= most:
        raise NodeError(f"`etcd-node {verb}` takes one argument, not {len(words)}", "See `etcd-node help`.")
    if verb in ("retire", "drain"):
        leave = _leaving(verb)
        with lock.held(verb), say.deadline(verb, DEADLINES[verb]):
            say.refuse_abandoned()
            leave(*words)
        return
    if verb in _ON_CONTROL_PLANES:
        _on_control_plane(verb, words[0])
        return
    wanted = spec.parse(words[0])
    say.member(wanted.member)
    given = "" if sys.stdin.isatty() else sys.stdin.read()
    change = _change(verb)
    with lock.held(verb), say.deadline(verb, DEADLINES[verb]):
        say.refuse_abandoned()
        _refuse_removed()
        change(wanted, given)


# Load modules before waiting for the lock: its holder may be a `retire`, which removes the program.


def _leaving(verb: str) -> Callable[..., None]:
    if verb == "retire":
        from .verbs.retire import retire

        return retire
    from .verbs.drain import drain

    return drain


def _change(verb: str) -> Callable[[spec.Spec, str], None]:
    if verb == "prepare":
        from .verbs.prepare import prepare

        return lambda wanted, given: print(prepare(spec.with_secrets(wanted, given)), flush=True)
    if verb == "health":
        from .cluster.claim import Claim
        from .verbs.health import health

        return lambda wanted, given: print(health(wanted, Claim(wanted, spec.parse_operator(given))), flush=True)
    if verb == "bootstrap":
        from .verbs.bootstrap import bootstrap

        return lambda wanted, _: print(bootstrap(wanted), flush=True)
    if verb in ("find", "stage"):
        from importlib import import_module

        ask = getattr(import_module(f".verbs.{verb}", __package__), verb)
        return lambda wanted, given: print(ask(wanted, spec.parse_bundle(given)), flush=True)
    if verb in ("restore", "start"):
        from .verbs import restore

        act = restore.restore if verb == "restore" else restore.start
        return lambda wanted, given: act(wanted, spec.parse_bundle(given))
    from .verbs.converge import converge

    def change(wanted: spec.Spec, given: str) -> None:
        bundle = spec.parse_bundle(given)
        print(converge(spec.with_headers(wanted, bundle.headers), bundle), flush=True)

    return change


# Verb -> its module.
_ON_CONTROL_PLANES = {
    "inspect": "inspect",
    "reach": "reach",
    "authority": "authority",
    "switch": "switch",
    "switch-back": "switch",
    "leave": "leave",
    "configure": "leave",
    "back": "back",
    "stand-alone": "back",
    "retire-plane": "retire_plane",
}


def _on_control_plane(verb: str, text: str) -> None:
    from importlib import import_module

    from .control_plane import plan

    wanted = plan.parse(text)
    say.member(wanted.plane)
    act = getattr(import_module(f".verbs.{_ON_CONTROL_PLANES[verb]}", __package__), verb.replace("-", "_"))
    given = [plan.parse_files(sys.stdin.read())] if verb == "switch" else []
    with lock.held(verb), say.deadline(verb, DEADLINES[verb]):
        say.refuse_abandoned()
        _refuse_removed()
        answer = act(wanted, *given)
        if answer is not None:
            print(answer, flush=True)


def _space(verb: str, words: list[str]) -> None:
    from .verbs import space

    if len(words) > (verb == "defragment"):
        raise NodeError(f"`etcd-node {verb}` has too many arguments", "See `etcd-node help`.")
    with say.deadline(verb, DEADLINES[verb]):
        # The timer holds no lock while it looks: an update would wait for it.
        act = space.due() if verb == "maintain" else getattr(space, verb.replace("-", "_"))
        if act is None:
            return
        with lock.held(verb):
            _refuse_removed()
            act(*words)


def _refuse_removed() -> None:
    if not Path(__file__).exists():
        raise NodeError(
            "a `retire` of an earlier run has just ended and removed etcd-node; nothing was changed",
            "Run again.",
        )


def _status(words: list[str]) -> None:
    from .verbs.status import status

    if words not in ([], ["--json"]):
        raise NodeError("`etcd-node status` knows only --json", "See `etcd-node help`.")
    with say.deadline("status", DEADLINES["status"]):
        print(status(as_json=bool(words)), flush=True)


def _drift(words: list[str]) -> None:
    from .verbs.drift import drift

    if words not in ([], ["--json"]):
        raise NodeError("`etcd-node drift` knows only --json", "See `etcd-node help`.")
    # What another verb is changing now would be found as well.
    with lock.held("drift"), say.deadline("drift", DEADLINES["drift"]):
        print(drift(as_json=bool(words)), flush=True)


def _top(words: list[str]) -> None:
    from .verbs.top import top

    if words not in ([], ["--once"]):
        raise NodeError("`etcd-node top` knows only --once", "See `etcd-node help`.")
    top(once=bool(words))


def _metrics(words: list[str]) -> None:
    from .verbs.metrics import metrics, write

    if len(words) > 1:
        raise NodeError("`etcd-node metrics` takes one directory", "See `etcd-node help`.")
    with say.deadline("metrics", DEADLINES["metrics"]):
        if words:
            write(Path(words[0]))
        else:
            print(metrics(), end="", flush=True)


def _snapshot(words: list[str]) -> None:
    from .verbs.snapshot import snapshot

    if words not in ([], ["--scheduled"]):
        raise NodeError("`etcd-node snapshot` knows only --scheduled", "See `etcd-node help`.")
    # Without the machine's lock: `pulumi up` does not wait for an upload.
    with say.deadline("snapshot", DEADLINES["snapshot"]):
        print(snapshot(scheduled=bool(words)), flush=True)


def _drill(words: list[str]) -> None:
    from .verbs.drill import drill

    if words not in ([], ["--scheduled"]):
        raise NodeError("`etcd-node drill` knows only --scheduled", "See `etcd-node help`.")
    with say.deadline("drill", DEADLINES["drill"]):
        print(drill(scheduled=bool(words)), flush=True)
