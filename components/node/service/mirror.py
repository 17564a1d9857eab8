"""Requests to a mirror, also through a proxy, and a comparison of its clock with this machine's."""

from __future__ import annotations

import errno
import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import IO, Any, cast
from urllib.parse import urlsplit

from ..shared.errors import NodeError
from ..shared.say import say, until
from ..shared.spec import Release

STALL_SECONDS = 20
_NETWORK_SECONDS = 30.0
# Certificates are valid from the second they were made, and a leader's leases run by the clock.
CLOCK_TOLERANCE_SECONDS = 5.0
_FOR_THE_PROXY = "proxy-authorization"
# Caches must not answer.
_FRESH = {"Cache-Control": "no-cache", "Pragma": "no-cache"}

Clock = Callable[[], float]


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Headers for a mirror are not sent to the target of a redirect; those for the proxy are."""

    def redirect_request(  # noqa: PLR0917  as it is called
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None:
            here = urlsplit(req.full_url)[:2] == urlsplit(newurl)[:2]
            for name, value in req.unredirected_hdrs.items():
                if here or name.lower() == _FOR_THE_PROXY:
                    new.add_unredirected_header(name, value)
        return new


def open_url(url: str, release: Release, clock: Clock) -> http.client.HTTPResponse:
    """The mirror's answer, when its clock and this machine's agree.

    Args:
        release: contains the proxy, and the headers that the mirror requires.
        clock: this machine's time, in seconds since 1970.

    Raises:
        NodeError: mirror or proxy cannot be reached or refuse, or the clocks differ.
    """
    way = f" through {release.proxy}" if release.proxy else ""
    remedy = f"Check that this machine reaches {url} (proxy, route, name), or set another mirror (`releaseMirror`)."
    try:
        answer = _ask(url, release)
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_FOUND:
            remedy = (
                "Check the version and the mirror: it must have v<version>/etcd-v<version>-linux-<arch>.tar.gz, "
                "with SHA256SUMS next to it."
            )
        elif error.code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN, http.client.PROXY_AUTHENTICATION_REQUIRED):
            remedy = "Set the headers that it requires (`releaseHeaders`), or another mirror (`releaseMirror`)."
        raise NodeError(f"{url} answers {error.code} {error.reason}{way}", remedy) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if release.proxy:
            remedy = f"Check that this machine reaches the proxy, and the proxy the mirror (`releaseProxy`). {remedy}"
        raise NodeError(f"{url} cannot be reached{way} ({reason})", remedy) from None
    try:
        _check_answer(answer, url, clock())
    except NodeError:
        # A cached answer has the time when it was stored.
        fresh = _head(url, release)
        if fresh is None:
            answer.close()
            raise
        _check_answer(fresh, url, clock())
    return answer


def _check_answer(answer: http.client.HTTPResponse, url: str, now: float) -> None:
    check_clock(answer.headers.get("Date", ""), url, now, answer.headers.get("Age", ""))


def _request(url: str, release: Release, method: str = "GET") -> urllib.request.Request:
    request = urllib.request.Request(url, method=method)  # noqa: S310  http(s), checked with the specification
    for name, value in release.headers.items():
        request.add_unredirected_header(name, value)
    return request


def _opener(release: Release) -> urllib.request.OpenerDirector:
    proxies = {"http": release.proxy, "https": release.proxy} if release.proxy else None
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _Redirect)


def _ask(url: str, release: Release) -> http.client.HTTPResponse:
    """The answer. It retries, because a machine that has just booted may get routes and name servers late."""
    opener = _opener(release)
    for left in until(_NETWORK_SECONDS, every=1.0):
        try:
            return cast(http.client.HTTPResponse, opener.open(_request(url, release), timeout=STALL_SECONDS))
        except urllib.error.URLError as error:  # noqa: PERF203  one connection a second
            unreachable = error
            number = error.reason.errno if isinstance(error.reason, OSError) else None
            if number not in (errno.ENETUNREACH, socket.EAI_AGAIN):
                raise
            if left == _NETWORK_SECONDS:
                say(f"waits for the network ({error.reason})")
    raise unreachable


def _head(url: str, release: Release) -> http.client.HTTPResponse | None:
    """The mirror's own Date and time now; None if it does not answer."""
    request = _request(url, release, "HEAD")
    for name, value in _FRESH.items():
        request.add_header(name, value)
    try:
        with _opener(release).open(request, timeout=STALL_SECONDS) as answer:
            return cast(http.client.HTTPResponse, answer)
    except (OSError, http.client.HTTPException):
        return None


def check_clock(date: str, url: str, now: float, age: str = "") -> None:
    """Compares this machine's clock with what a server says.

    Args:
        date: the server's Date header; empty or senseless: nothing is compared.
        url: who said it.
        now: this machine's time, in seconds since 1970.
        age: the Age header of a cache, in seconds. Some caches keep the stored date, some send their own, so either
            time can be right.

    Raises:
        NodeError: they are more than 5 s apart.
    """
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError):
        return
    since = int(age) if age.strip().isdigit() else 0
    for time_there in {theirs, theirs + since}:
        # The header has whole seconds, rounded down.
        if time_there - CLOCK_TOLERANCE_SECONDS <= now <= time_there + 1 + CLOCK_TOLERANCE_SECONDS:
            return
    shown = [time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(each)) for each in (now, theirs + since)]
    raise NodeError(
        f"the clock of this machine says {shown[0]}, that of {url.split('/')[2]} says {shown[1]}; certificates "
        "need clocks that agree within "
        f"{CLOCK_TOLERANCE_SECONDS:.0f} s",
        "Set up chrony or systemd-timesyncd on this machine, wait until it is synchronised, then run again.",
    )
