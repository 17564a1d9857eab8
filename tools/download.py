"""Downloads that fail within seconds if there is no internet, and that are verified by checksum."""

from __future__ import annotations

import hashlib
import http.client
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tools.base import ToolError, UnreachableError, say

ANSWER_WITHIN = 4.0  # seconds for name resolution, connection, TLS and the response head together
STALL = 15.0  # seconds without a byte of the body
WHOLE = 900.0  # seconds for one file
_CHUNK = 1 << 20

_unreachable: set[str] = set()  # hosts that did not answer this process, to fail at once the next time


def open_url(url: str, answer_within: float | None = None) -> http.client.HTTPResponse:
    """Open `url` once. The total wait is bounded, even if a name server or a silent peer hangs.

    Raises:
        UnreachableError: no answer within `answer_within` seconds (default ANSWER_WITHIN).
        ToolError: another answer than the file.
    """
    host = urllib.parse.urlsplit(url).netloc
    if host in _unreachable:
        raise UnreachableError(f"{host} cannot be reached")
    answers: queue.Queue[http.client.HTTPResponse | OSError | http.client.HTTPException] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=STALL))  # noqa: S310 (the callers' addresses are constants)
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    # In a thread, because name resolution has no timeout of its own.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_WITHIN if answer_within is None else answer_within)
    except queue.Empty:
        answer = TimeoutError()
    if isinstance(answer, urllib.error.HTTPError):
        raise ToolError(f"{url} answered {answer.code} {answer.reason}")
    if isinstance(answer, Exception):
        _unreachable.add(host)
        raise UnreachableError(f"{host} cannot be reached") from answer
    return answer


def read_text(url: str) -> str:
    """Return the small text file at `url` (at most 1 MiB); raises as `open_url` does."""
    try:
        with open_url(url) as answer:
            return answer.read(_CHUNK).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise ToolError(f"{url} broke off: {error}") from error


def checksum_in(sums: str, name: str, source: str) -> str:
    """Return the SHA-256 of file `name` in the text of a checksum file (`HEX  NAME` a line).

    Raises:
        ToolError: `name` is missing; `source` names the checksum file in the text.
    """
    for line in sums.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].lstrip("*") == name and len(words[0]) == 64:
            return words[0].lower()
    raise ToolError(f"{source} has no SHA-256 of {name}")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(url: str, target: Path, expected: str) -> None:
    """Download `url` to the file `target` and check its SHA-256; if this raises, `target` does not exist.

    Raises:
        UnreachableError: the address does not answer.
        ToolError: another answer than the file, an interrupted transfer, or a wrong checksum.
    """
    say(f"downloading {url} ...")
    deadline = time.monotonic() + WHOLE
    try:
        with open_url(url) as answer, target.open("wb") as stream:
            while chunk := answer.read(_CHUNK):
                stream.write(chunk)
                if time.monotonic() > deadline:
                    raise ToolError(f"{url} did not arrive within {WHOLE:.0f} s")
        found = sha256(target)
        if found != expected:
            raise ToolError(f"{url} has the SHA-256 {found} instead of the published {expected}; it is not used")
    except (OSError, http.client.HTTPException, ToolError) as error:
        target.unlink(missing_ok=True)
        if isinstance(error, ToolError):
            raise
        raise ToolError(f"{url} broke off: {error}") from error
