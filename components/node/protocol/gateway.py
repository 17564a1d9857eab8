"""etcdctl's commands as etcd's own JSON gateway has them, at the client port: no process has to start for them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

STATUS = "/v3/maintenance/status"
KEEP_ALIVE = "/v3/lease/keepalive"
ALARM = "/v3/maintenance/alarm"


def request(words: Sequence[str], stdin: str = "") -> tuple[str, Mapping[str, Any]] | None:
    """Page and content for a command of etcdctl; None if only etcdctl can do it.

    The answers have the names that etcdctl gives them in JSON; numbers are strings.

    Args:
        words: the arguments of etcdctl.
        stdin: its standard input; only `txn` reads it.
    """
    if stdin:
        return _transaction(stdin)
    command, rest = " ".join(words[:2]), list(words[2:])
    if words[0] in ("get", "put", "del", "move-leader"):
        command, rest = words[0], list(words[1:])
    if command == "get" and rest[0] == "--prefix":
        begin = rest[1].encode()
        return "/v3/kv/range", {"key": _bytes(begin), "range_end": _bytes(begin[:-1] + bytes([begin[-1] + 1]))}
    if command == "lease keep-alive":
        return KEEP_ALIVE, {"ID": _number(rest[-1])}
    if command == "member add":
        urls = next(word.partition("=")[2] for word in rest if word.startswith("--peer-urls="))
        return "/v3/cluster/member/add", {"peerURLs": urls.split(","), "isLearner": "--learner" in rest}
    simple: Mapping[str, Callable[..., tuple[str, Mapping[str, Any]]]] = {
        "get": lambda key: ("/v3/kv/range", {"key": _bytes(key.encode())}),
        "put": lambda key, value: ("/v3/kv/put", {"key": _bytes(key.encode()), "value": _bytes(value.encode())}),
        "del": lambda key: ("/v3/kv/deleterange", {"key": _bytes(key.encode())}),
        "move-leader": lambda member: ("/v3/maintenance/transfer-leadership", {"targetID": _number(member)}),
        "member list": lambda: ("/v3/cluster/member/list", {"linearizable": True}),
        "member remove": lambda member: ("/v3/cluster/member/remove", {"ID": _number(member)}),
        "member promote": lambda member: ("/v3/cluster/member/promote", {"ID": _number(member)}),
        "alarm list": lambda: (ALARM, {"action": "GET"}),
        "role list": lambda: ("/v3/auth/role/list", {}),
        "lease grant": lambda seconds: ("/v3/lease/grant", {"TTL": seconds}),
        "lease revoke": lambda lease: ("/v3/lease/revoke", {"ID": _number(lease)}),
    }
    return simple[command](*rest) if command in simple else None


def _transaction(text: str) -> tuple[str, Mapping[str, Any]] | None:
    """The request for a transaction of `etcdctl txn`: keys that must not exist, then what is done, then nothing."""
    lists: list[list[str]] = [[]]
    for line in text.splitlines():
        if line:
            lists[-1].append(line)
        else:
            lists.append([])
    absent = [re.fullmatch(r'create\("(\S+)"\) = "0"', line) for line in lists[0]]
    done = [_operation(line) for line in lists[1]]
    if None in absent or None in done or any(lists[2:]):
        return None
    free = {"target": "CREATE", "result": "EQUAL", "createRevision": "0"}
    compare = [{**free, "key": _bytes(found[1].encode())} for found in absent if found]
    return "/v3/kv/txn", {"compare": compare, "success": done}


def _operation(line: str) -> Mapping[str, Any] | None:
    if found := re.fullmatch(r"del (\S+)", line):
        return {"requestDeleteRange": {"key": _bytes(found[1].encode())}}
    found = re.fullmatch(r"put (\S+) (?:'(.*)'|([^\s']+))(?: --lease=([0-9a-f]+))?", line)
    if found is None:
        return None
    put = {"key": _bytes(found[1].encode()), "value": _bytes((found[2] or found[3] or "").encode())}
    return {"requestPut": {**put, "lease": _number(found[4])} if found[4] else put}


def _bytes(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _number(hexadecimal: str) -> str:
    return str(int(hexadecimal, 16))
