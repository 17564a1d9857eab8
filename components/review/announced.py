"""The lines that the guard announces, by their form. A line of no known form is never shown."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..plan.guard.steps import Step

_NAME = r"[a-z0-9][a-z0-9.-]*"
_NAMES = rf"{_NAME}(?:, {_NAME})*"
_VERSION = r"\d+\.\d+\.\d+"
_CA = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_WHOSE = r"(?:peers|clients and servers)"
_FLAG = r"-{0,2}[a-z][a-z0-9-]*"
_REASON = (
    rf"(?:etcd {_VERSION} -> {_VERSION}|{_FLAG}(?:, {_FLAG})*|systemd -> kubelet|kubelet -> systemd|another image"
    rf"|trusts CAs? {_CA}(?:, {_CA})*(?: for {_WHOSE})?)"
)
_KEYS = r"(?:read|write|readwrite) [!-~]+"

PREPARE, BOOTSTRAP, HEALTH, SNAPSHOT, DOWNGRADE = "prepare", "bootstrap", "health", "snapshot", "downgrade"
JOIN, PROMOTE, REMOVE, NO_RETURN, RETIRE = "join", "promote", "remove", "no return", "retire"
REPLACE, BACK_WITH_DATA, REMOVE_OLD, REJOIN, CHECK = "replace", "back with data", "remove old", "rejoin", "check"
RESTART, ISSUE, PUT_RIGHT, LOOK = "restart", "issue", "put right", "look"
RESTORE, ALL_STOP, MOVE_ASIDE, RESTORED, NO_API_SERVER = "restore", "all stop", "move aside", "restored", "api servers"
AUTH_OFF, AUTH_ON, USER_REMOVED, USER_GRANTED = "authentication off", "authentication on", "user removed", "user"
INSPECT, GIVEN_UP, READ_CA, API_RESTART, MANIFEST, KUBEADM, NODE_REMOVED = (
    *("inspect", "given up", "read CA", "API server restart", "manifest aside", "kubeadm-config", "etcd-node removed"),
)
UNKNOWN = "unknown"
"""A step in a form that this program does not know."""

_SLOW = rf"(?P<one>{_NAME})(?: to (?P<other>{_NAME}))? (?P<figures>\((?:p99 )?[\d.]+ ms(?:, average [\d.]+ ms)?\))"
# Without groups, to be repeated.
_EACH_SLOW = re.sub(r"\?P<\w+>", "?:", _SLOW)
_SLOW_NOTE = re.compile(
    rf"Slow (?:disks|links) when last measured: (?P<found>{_EACH_SLOW}(?:, {_EACH_SLOW})*(?P<more>, and \d+ more)?)\. "
    r"etcd (?:recommends a p99 below \d+ ms(?: and requires an average below \d+ ms)?|requires at most \d+ ms, a tenth "
    r"of the election timeout)\. Acknowledged: (?P<acknowledged>yes|no)\.",
    re.ASCII,
)

# The kind of a step -> its form. `who`: the members (or control planes) that it is about.
_FORMS = {
    kind: re.compile(form, re.ASCII)
    for kind, form in (
        (
            PREPARE,
            rf"prepare (?P<who>{_NAMES}): no member (?:stops|starts yet)"
            rf"(?:; (?P<slow>a slow (?:disk|link|disk or link) is accepted)(?: for (?P<new>{_NAMES}))?)?",
        ),
        (BOOTSTRAP, rf"bootstrap a new cluster of (?P<who>{_NAMES})"),
        (HEALTH, r"check the health of all members"),
        (SNAPSHOT, rf"save a snapshot of the data on the machines? of {_NAME}(?: and {_NAME})?"),
        (DOWNGRADE, r"enable the downgrade to etcd \d+\.\d+"),
        (JOIN, rf"(?P<who>{_NAME}) joins as a learner"),
        (PROMOTE, rf"(?P<who>{_NAME}) is promoted to voter"),
        (REMOVE, rf"(?P<who>{_NAME}) is removed(?:; a leader is removed last)?"),
        (
            NO_RETURN,
            rf"(?P<who>{_NAME}) is removed(?:; a leader is removed last)? \(from here on there is no way back\)",
        ),
        (RETIRE, rf"retire the machine of (?P<who>{_NAME})"),
        (REPLACE, rf"replace the machine of (?P<who>{_NAME}) once all others are healthy"),
        (BACK_WITH_DATA, rf"(?P<who>{_NAME}) restarts with its data"),
        (REMOVE_OLD, rf"the old member (?P<who>{_NAME}) is removed"),
        (REJOIN, rf"(?P<who>{_NAME}) joins again and is promoted to voter"),
        (CHECK, rf"(?P<who>{_NAME}) is checked: it joins again if its disk is empty"),
        (RESTART, rf"(?P<who>{_NAME}) restarts: (?P<why>{_REASON}(?:; {_REASON})*)"),
        (PUT_RIGHT, rf"(?P<who>{_NAME}) (?:restarts|does not restart), and is put right: .+"),
        (LOOK, rf"look for what others have changed on (?P<who>{_NAMES})"),
        (
            ISSUE,
            rf"CA {_CA} issues (?:all certificates|the certificates of {_WHOSE}): members reload them without a "
            "restart",
        ),
        (RESTORE, rf"restore .+ beside the data of (?P<who>{_NAMES}), after a check: no member stops"),
        (ALL_STOP, r"all members stop: EVERYTHING WRITTEN AFTER THE SNAPSHOT IS LOST"),
        (MOVE_ASIDE, r"old data are moved aside, the restored data take their place"),
        (RESTORED, rf"a new cluster of (?P<who>{_NAMES}) starts, with revisions that no client has seen"),
        (NO_API_SERVER, r"API servers: nothing to do; their watches end as compacted, and they list again"),
        (
            AUTH_OFF,
            r"turn authentication off: every certificate of the CAs, also of a former user, gives full access",
        ),
        (
            AUTH_ON,
            r"turn authentication on: API servers and this program are root, each user has its own keys, all other "
            r"certificates have no access",
        ),
        (USER_REMOVED, rf"remove user {_NAME}: its certificate loses all access"),
        (USER_GRANTED, rf"grant user {_NAME}: {_KEYS}(?: \(before: {_KEYS}\))?"),
        (GIVEN_UP, rf"the control plane {_NAME} is given up: its node and its machine must be gone for good"),
        (INSPECT, rf"inspect the control planes {_NAMES}: nothing changes"),
        (READ_CA, rf"read the CA of etcd from {_NAME}: it becomes the CA {_CA}"),
        (
            API_RESTART,
            rf"the API server of (?P<who>{_NAME}) restarts with (?:the members {_NAMES}|its stacked member), while all "
            "others serve",
        ),
        (MANIFEST, rf"the manifest of etcd on {_NAME} is moved aside; its data stay"),
        (KUBEADM, r"kubeadm-config names the external etcd"),
        (NODE_REMOVED, rf"remove etcd-node from {_NAMES}"),
    )
}

NOT_COMPARED = "The output `applied` of the last update"
"""How the warning begins that the guard can announce no steps."""
_WARNINGS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"{NOT_COMPARED} is from another version of this program and cannot be read\. "
        r"This change is compared with nothing, and only the machines can refuse it\. In this update, change nothing "
        r"but the program\.",
        r"Overridden once, with allow-[0-9a-f]{12}:",
        r"There is nothing to override\. The override is no longer needed; remove it\.",
        r"One member tolerates no failures; three tolerate one\.",
        r"Peers trust the CA of the clients, so the peer port accepts every user's certificate and checks no "
        r"permissions\. Block users from the peer port by a firewall, or give the peers a separate CA\.",
        r"[a-z0-9-]+ was renewed\. (?:An API server|A client) that still has the earlier one gets no new connection "
        rf"after [0-9TZ:-]+(?:, or when the CA {_CA} is dropped)?\. Put the renewed one in place before that "
        r"\([\w ,.\"`/-]+\)\. No member can see whether this was done\.",
        rf"etcd {_VERSION} is newer than {_VERSION}, the newest tested release\. If it does not exist, the download on "
        r"the machines fails\.",
        r"\S+: (?P<shown>archives and their checksums come over plain http and can be changed in transit\. Set the "
        r"SHA-256 of the archive\.)",
        r"The restore is complete: remove restore\.identity, the private key\.",
    )
)


@dataclass(frozen=True)
class Announced:
    """One announced step."""

    step: Step
    """Its text is empty if its form is not known."""
    kind: str
    who: tuple[str, ...] = ()
    """Names of members or control planes; empty where it is about the whole cluster."""
    why: tuple[str, ...] = ()
    """Why a member restarts."""
    cluster: str = ""
    slow: str = ""
    """Which slow disks and links are accepted."""

    @property
    def restarts(self) -> tuple[str, ...]:
        """Members whose etcd stops in this step; empty: none, or all of them."""
        stops = self.kind in (RESTART, BACK_WITH_DATA) or (self.kind == PUT_RIGHT and " restarts" in self.step.text)
        return self.who if stops else ()


def announced(line: str) -> Announced | None:
    """The step in a line of the announcement; None if it is none."""
    number, mark, rest = line.strip().partition(". ")
    step = Step.read(rest) if mark and number.isdecimal() else None
    if step is None:
        return None
    for kind, form in _FORMS.items():
        found = form.fullmatch(step.text)
        if found is None:
            continue
        groups = found.groupdict()
        if kind == RESTORE:
            # The name of a file is free text.
            step = Step(
                "restore the snapshot beside the data of all members, after a check: no member stops", *_of(step)
            )
        elif kind in (USER_GRANTED, PUT_RIGHT):
            # The keys of a user; what others have written on a machine.
            step = Step(step.text.partition(":")[0], *_of(step))
        parts = (((groups.get(name) or ""), mark) for name, mark in (("who", ", "), ("why", "; "), ("new", ", ")))
        who, why, new = (tuple(text.split(mark)) if text else () for text, mark in parts)
        slow = (groups.get("slow") or "") + (f" for {_quoted(new, ', ')}" if new else "")
        return Announced(step, kind, who, why, slow=slow)
    return Announced(Step("", *_of(step)), UNKNOWN)


def slow_note(line: str) -> str:
    """Which members have slow disks or links, in a line below the steps; empty if it says nothing of them."""
    found = _SLOW_NOTE.fullmatch(line.strip())
    if found is None:
        return ""
    pairs = ((each["one"], each["other"], each["figures"]) for each in re.finditer(_SLOW, found["found"], re.ASCII))
    slow = [f"{_quoted(filter(None, ends), ' to ')} {figures}" for *ends, figures in pairs]
    return f"{', '.join(slow)}{found['more'] or ''}: {'not ' * (found['acknowledged'] == 'no')}acknowledged"


def known_warning(text: str) -> str:
    """What is shown of a warning; empty if it is none of this program, or has a value of the configuration."""
    found = next(filter(None, (form.fullmatch(text) for form in _WARNINGS)), None)
    return "" if found is None else found.groupdict().get("shown") or found[0]


def _quoted(names: Iterable[str], mark: str) -> str:
    return mark.join(f"`{name}`" for name in names)


def _of(step: Step) -> tuple[int, int]:
    return step.voters, step.serving
