"""One request to a web server over a connection that is there.

The standard library's client would be a sixth of all that Python loads for `converge`. In HTTP/1.0 an answer ends with
its connection, so there is little to read.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

OK, NOT_FOUND = 200, 404
_MOST = 4 << 20


def exchange(
    line: socket.socket, host: str, path: str, content: Mapping[str, Any] | None = None
) -> tuple[int, bytes, Mapping[str, str]]:
    """Status, body and headers of an answer; their names are capitalised like `Content-Length`.

    Args:
        line: the connection, with its time limit; only for this request.
        host: name or address of the server, with its port.
        content: request body, sent as JSON. Default: none (GET).

    Raises:
        ConnectionResetError: the server ended the connection without an answer.
        OSError: the connection broke, or there was no answer in time.
        ValueError: the answer is incomplete, or not one of a web server.
    """
    head, body = [f"{'GET' if content is None else 'POST'} {path} HTTP/1.0", f"Host: {host}"], b""
    if content is not None:
        body = json.dumps(content).encode()
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    line.sendall("\r\n".join([*head, "", ""]).encode() + body)
    parts: list[bytes] = []
    length = 0
    while length < _MOST and (part := line.recv(1 << 16)):
        parts.append(part)
        length += len(part)
    if not parts:
        raise ConnectionResetError("no answer")
    top, _, answer = b"".join(parts).partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise ValueError(f"not an answer of a web server: {first[:60]!r}")
    headers = {name.title(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    if len(answer) < int(headers.get("Content-Length", 0)):
        raise ValueError("the answer broke off")
    return int(words[1]), answer, headers
