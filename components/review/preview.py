"""What a review reads from `pulumi preview --json`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .announced import NOT_COMPARED, UNKNOWN, Announced, announced, known_warning, slow_note

CLUSTER = "external-etcd:index:EtcdCluster"
"""Type of a cluster."""
BACKUP, FIREWALL, MAINTENANCE, LOGIN, METRICS = "backup", "firewall", "maintenance", "connection", "textfile"
QUIET = (FIREWALL, BACKUP, MAINTENANCE, METRICS, LOGIN)
"""Settings of machines whose change restarts no member, so that the guard announces no steps for it."""
NOT_PLAIN = "?"
"""In place of a resource's name or type that is no plain name, so that it cannot be shown."""
_REFUSED = re.compile(r"^This change of the cluster ([a-z0-9][a-z0-9.-]*) is refused; nothing was touched:$")
_PROPERTY = re.compile(r"^external-etcd:index:\w+ resource '[^'\n]*' has a problem: ", re.ASCII)
"""How the engine begins a refusal in a program of another language."""
_CONFIGURATION = re.compile(r"^The configuration of stack \S+ is refused \(docs/reference\.md explains every key\):$")
_OVERRIDE = re.compile(r"To proceed anyway, set \S+ to allow-[0-9a-f]{12}; ")
_UPDATES = "Make these updates instead, each with its own pulumi up:"
_KEY = re.compile(r"^  ([A-Za-z][\w.:\[\]-]{0,99}): given ", re.ASCII)
_NAME = re.compile(r"[\w./@-]{1,200}", re.ASCII)
_MACHINES = re.compile(r"external-etcd:index:\w*Machines\$[\w/]+:[\w/]+:(?:Instance|Server|Volume)", re.ASCII)
"""How the types end of the machines and volumes that a component made for members."""
_TOLD = ("-prepare", "-converge")
"""How the names of the commands end that tell a machine its settings."""
_OWN_PLUGIN = re.compile(r"using pulumi-resource-\w+ from \$PATH at ")
# `discard`: of what was only read.
_UNCHANGED = ("same", "read", "read-replacement", "refresh", "discard")
# The engine's steps of a replacement besides `replace`, which the digest of a preview always has.
_PARTS = {"create-replacement": "replace", "delete-replaced": "replace", "discard-replaced": "replace"}


class PreviewError(Exception):
    """The text is not the JSON of a preview."""


@dataclass(frozen=True)
class Resource:
    """A resource that would change."""

    name: str
    """`?`: it is no plain name."""
    type: str
    """As in Pulumi: `tls:index/privateKey:PrivateKey`."""
    op: str
    """`create`, `update`, `replace`, `delete`; others as Pulumi names them."""


@dataclass(frozen=True)
class Preview:
    """A preview, without any value of the configuration or of a resource."""

    stack: str
    """Empty: the preview names none."""
    clusters: tuple[str, ...]
    """Those that the preview names."""
    steps: tuple[Announced, ...]
    """With several clusters, `who` has the name of the cluster before each member: `test/etcd-1`."""
    resources: tuple[Resource, ...]
    problems: tuple[str, ...]
    """Why the guard refuses the change."""
    overridden: tuple[str, ...]
    """What the guard would refuse without the override that was given."""
    override: bool
    """Whether a refusal names an override."""
    updates: tuple[str, ...]
    """What to set in each update instead."""
    keys: tuple[str, ...]
    """Keys of the configuration that are refused."""
    errors: int
    """How many other errors there are. Their text may contain anything."""
    warnings: tuple[str, ...]
    other_warnings: int
    """How many others there are. Their text may contain values of the configuration."""
    settings: tuple[str, ...] = ()
    """Those of `QUIET` that change."""
    slow: tuple[str, ...] = ()
    """Slow disks and links that are accepted, or that members have."""
    machines: tuple[str, ...] = ()
    """Names of members' machines and volumes in a cloud that are deleted or replaced."""
    ended: bool = True
    """Whether the preview came to its end. One that was cancelled, or that a policy has stopped, names no error."""

    @property
    def refused(self) -> bool:
        """Whether the guard refuses the change."""
        return bool(self.problems)

    @property
    def known(self) -> bool:
        """Whether all steps are announced, in forms that this program knows."""
        compared = not any(text.startswith(NOT_COMPARED) for text in self.warnings)
        return compared and not any(each.kind == UNKNOWN for each in self.steps)

    @property
    def failed(self) -> bool:
        """Whether the preview failed for another reason."""
        return bool(self.keys or self.errors) or not self.ended


def read(text: str) -> Preview:
    """The preview with this JSON. Raises PreviewError if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        raise PreviewError("this is not JSON; give the output of `pulumi preview --json`") from None
    if not isinstance(found, dict) or not {"steps", "diagnostics", "changeSummary"} & found.keys():
        raise PreviewError("this is not the output of `pulumi preview --json`: it has neither steps nor diagnostics")
    steps = [each for each in found.get("steps") or () if isinstance(each, dict)]
    messages = [each for each in found.get("diagnostics") or () if isinstance(each, dict)]
    named = set(filter(None, (_cluster(each) for each in (*steps, *messages))))
    errors = [_text(each) for each in messages if each.get("severity") == "error"]
    refusals = [each.splitlines() for each in errors if _REFUSED.match(each.partition("\n")[0])]
    configurations = [each.splitlines() for each in errors if _CONFIGURATION.match(each.partition("\n")[0])]
    warnings = [_text(each) for each in messages if each.get("severity") == "warning"]
    problems = [line.strip() for lines in refusals for line in _until(lines[1:], _UPDATES) if line.startswith("  ")]
    overridden = list(_overridden(messages))
    known = [shown for each in warnings if (shown := known_warning(each))]
    other = [each for each in warnings if not known_warning(each) and each.strip() not in overridden]
    return Preview(
        stack=next(filter(None, (_urn(each)[0] for each in (*steps, *messages))), ""),
        clusters=tuple(sorted({*named, *_refused_clusters(refusals)})),
        # Those of several clusters come mixed.
        steps=tuple(sorted(_announcements(messages, several=len(named) > 1), key=lambda each: each.cluster)),
        resources=tuple(_resources(steps)),
        problems=tuple(problems),
        overridden=tuple(overridden),
        override=any(_OVERRIDE.match(line) for lines in refusals for line in lines),
        updates=tuple(_updates(refusals)),
        keys=tuple(key[1] for lines in configurations for line in lines if (key := _KEY.match(line))),
        errors=len(errors) - len(refusals) - len(configurations),
        warnings=tuple(dict.fromkeys(known)),
        other_warnings=sum(not _OWN_PLUGIN.match(each) for each in other),
        settings=tuple(_settings(steps)),
        slow=tuple(_slow(messages, several=len(named) > 1)),
        machines=tuple(dict.fromkeys(_machines(steps))),
        # The engine writes it at the end.
        ended="changeSummary" in found,
    )


def _announcements(messages: Sequence[Mapping[str, Any]], *, several: bool) -> Iterator[Announced]:
    for message in messages:
        if message.get("severity") == "info" and _urn(message)[1] == CLUSTER:
            step = announced(_text(message))
            if step is not None:
                cluster = _cluster(message)
                who = tuple(f"{cluster}/{name}" for name in step.who) if several else step.who
                yield replace(step, cluster=cluster, who=who)


def _slow(messages: Sequence[Mapping[str, Any]], *, several: bool) -> Iterator[str]:
    for message in messages:
        if message.get("severity") == "info" and _urn(message)[1] == CLUSTER:
            text = _text(message)
            step = announced(text)
            if found := step.slow if step is not None else slow_note(text):
                yield f"{_cluster(message)}: {found}" if several else found


def _overridden(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The guard prints them as warnings, each below the one that names the override."""
    below = False
    for message in messages:
        text = _text(message)
        if message.get("severity") != "warning" or _urn(message)[1] != CLUSTER:
            continue
        if below and text.startswith("  "):
            yield text.strip()
        else:
            below = text.startswith("Overridden once, with allow-")


def _resources(steps: Sequence[Mapping[str, Any]]) -> Iterator[Resource]:
    seen = set()
    for step in steps:
        op = str(step.get("op"))
        op = _PARTS.get(op, op)
        _, type_, name = _urn(step)
        if op in _UNCHANGED or not _NAME.fullmatch(op) or type_ == "pulumi:pulumi:Stack":
            continue
        key = (str(step.get("urn")), op)
        if key not in seen:
            seen.add(key)
            # It changes all the same.
            yield Resource(name or NOT_PLAIN, type_ or NOT_PLAIN, op)


def _machines(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for step in steps:
        types = str(step.get("urn")).rpartition("::")[0]
        if step.get("op") in ("delete", "replace") and _MACHINES.search(types):
            yield _urn(step)[2] or NOT_PLAIN


def _settings(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Names only; their values are compared."""
    changed = set()
    for step in steps:
        _, type_, name = _urn(step)
        if (type_, step.get("op")) != ("command:remote:Command", "update") or not name.endswith(_TOLD):
            continue
        before, after = (_specification(step.get(key)) for key in ("oldState", "newState"))
        differ = {key for key in {**before, **after} if before.get(key) != after.get(key)}
        # Other members are other addresses for the firewall.
        changed |= differ - {FIREWALL} if "members" in differ else differ
        changed |= {LOGIN} & {str(key) for key in step.get("diffReasons") or ()}
    yield from (key for key in QUIET if key in changed)


def _specification(state: Any) -> dict[str, Any]:
    """What a command tells `etcd-node` of its member; empty if it is in no known form."""
    inputs = state.get("inputs") if isinstance(state, dict) else None
    text = str(inputs.get("create") if isinstance(inputs, dict) else "")
    try:
        found = json.loads(text[text.index('{\n  "') : text.rindex("\n}") + 2])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _urn(of: Mapping[str, Any]) -> tuple[str, str, str]:
    """Stack, type and name in a URN; empty where it has none, or no plain names."""
    # Only the last part, the name, may have "::".
    parts = str(of.get("urn") or "").split("::", 3)
    if len(parts) != 4:
        return "", "", ""
    stack, type_, name = parts[0].rpartition(":")[2], parts[2].rpartition("$")[2], parts[3]
    plain = [each if _NAME.fullmatch(each.replace(":", "/")) else "" for each in (stack, type_, name)]
    return plain[0], plain[1], plain[2]


def _cluster(of: Mapping[str, Any]) -> str:
    _, type_, name = _urn(of)
    return name if type_ == CLUSTER else ""


def _refused_clusters(refusals: list[list[str]]) -> list[str]:
    return [found[1] for lines in refusals if (found := _REFUSED.match(lines[0]))]


def _text(message: Mapping[str, Any]) -> str:
    text = str(message.get("message") or "").rstrip("\n")
    return _PROPERTY.sub("", text.removeprefix(f"{message.get('severity')}: "))


def _until(lines: list[str], end: str) -> list[str]:
    return lines[: lines.index(end)] if end in lines else lines


def _updates(refusals: list[list[str]]) -> Iterator[str]:
    for lines in refusals:
        for line in lines[lines.index(_UPDATES) + 1 :] if _UPDATES in lines else ():
            found = re.match(r"^  \d+\. (.+)$", line)
            if found:
                yield found[1]
