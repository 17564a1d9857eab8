"""The events of `pulumi up --json` as lines: the announced plan, one line per step, and all errors."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_COMMAND = "command:remote:Command"
_DONE = {"create": "", "update": "", "create-replacement": "", "delete": " (deleted)"}
_NO_WARNINGS = (
    # The CLI warns of every stand-in. `make up` has already printed which ones are in use.
    "using pulumi-resource-",
    # The lab's mirror is this computer.
    "http://releases.lab: archives",
)


def lines(events: Iterable[str], cluster: str, clock: Callable[[], float] = time.monotonic) -> Iterator[str]:
    """Yields each line as soon as its event arrives.

    Args:
        events: lines of `pulumi up --json`.
        cluster: name of the cluster and of its component.
        clock: seconds since any point in time.
    """
    began: dict[str, float] = {}
    planned = stepped = failed = False
    for text in events:
        event = _event(text)
        if event is None:
            yield text.rstrip("\n")
        elif "diagnosticEvent" in event:
            said = event["diagnosticEvent"]
            failed = failed or said["severity"] == "error"
            if said["severity"] in ("error", "warning") and not said["message"].startswith(_NO_WARNINGS):
                yield f"{said.get('prefix', '')}{said['message']}".rstrip("\n")
            elif said["severity"] == "info" and said.get("urn", "").endswith(f":EtcdCluster::{cluster}"):
                if not planned:
                    yield "The plan:"
                planned = True
                yield f"  {said['message']}".rstrip("\n")
        elif (step := _step(event.get("resourcePreEvent"), cluster)) is not None:
            began[step] = clock()
        elif (step := _step(event.get("resOutputsEvent"), cluster)) is not None:
            if not stepped:
                yield "Steps:"
            stepped = True
            yield f"  {step:<28} {clock() - began.get(step, clock()):5.1f} s"
        elif "summaryEvent" in event and not stepped and not failed:
            yield "Nothing to change."


def _event(text: str) -> dict[str, Any] | None:
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _step(event: dict[str, Any] | None, cluster: str) -> str | None:
    """The name of an event's step. None if the step touches no machine."""
    about = event["metadata"] if event else {}
    if about.get("type") != _COMMAND or about["op"] not in _DONE:
        return None
    name = str(about["urn"]).rpartition("::")[2].removeprefix(f"{cluster}-")
    # This command only prevents the destruction of a part of the cluster.
    if name == "whole":
        return None
    member, _, verb = name.rpartition("-")
    return f"{member or 'all members'}: {verb}{_DONE[about['op']]}"
