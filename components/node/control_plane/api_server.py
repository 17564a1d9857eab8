"""This machine's API server: ask it, and wait until it runs with other flags.

It is asked over https as kubeadm's administrator, whose kubeconfig is on every control plane. kubectl may be missing.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.client
import json
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..shared import files
from ..shared.errors import NodeError
from ..shared.say import phase, refuse_abandoned, say, until
from . import manifest, places

_PORT = 6443
_TIMEOUT = 10.0
_RESTART_SECONDS = 240.0
_END_SECONDS = 60.0
_LINGER_SECONDS = 120.0
_ADDRESS_FLAG, _PORT_FLAG = "--advertise-address=", "--secure-port="
_CREDENTIALS = ("certificate-authority-data", "client-certificate-data", "client-key-data")
_PROGRAM, _ETCD = "kube-apiserver", "etcd"
_CGROUPS = Path("/sys/fs/cgroup")


class UnreachableError(Exception):
    """An API server did not answer; the text says why."""


class AbsentError(UnreachableError):
    """An API server answered that there is no such object."""


@dataclass(frozen=True)
class Answer:
    """What an API server said."""

    status: int
    body: bytes
    date: float | None
    """Its clock, in seconds since the epoch; None if it did not say."""

    def object(self) -> dict[str, Any]:
        """The object in the answer. Raises AbsentError if there is none, and UnreachableError for anything else."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if self.status != http.client.OK or not isinstance(found, dict):
            kind = AbsentError if self.status == http.client.NOT_FOUND else UnreachableError
            raise kind(f"status {self.status}: {self.body[:200].decode(errors='replace')}")
        return found


def text() -> str:
    """The manifest of this machine's API server; one that a killed run has taken away is put back.

    Raises:
        NodeError: there is none, or it is a symbolic link.
    """
    if places.API_SERVER.is_symlink():
        raise NodeError(
            f"{places.API_SERVER} is a symbolic link; nothing was changed",
            "Put the file itself there, and wait until the API server is ready again. Then run again.",
        )
    _put_in_place()
    data = files.read_bytes(places.API_SERVER)
    if data is None:
        raise NodeError(
            f"there is no {places.API_SERVER}: this machine is not a control plane that kubeadm has set up; nothing "
            "was changed",
            "Correct `migration.controlPlanes`.",
        )
    try:
        return data.decode()
    except ValueError:
        raise NodeError(f"{places.API_SERVER} is not UTF-8", "Correct it, then run again.") from None


def _port() -> int:
    """The port of the API servers, by this machine's manifest."""
    found = re.search(rf"- [\"']?{_PORT_FLAG}(\d{{1,5}})", text())
    return int(found[1]) if found else _PORT


def own_address(address: str) -> str:
    """The address that this machine's API server has in its certificate; `address` if the manifest has none."""
    found = re.search(rf"- [\"']?{_ADDRESS_FLAG}([0-9a-fA-F.:]+)", text())
    return found[1] if found else address


def ask(
    address: str, path: str, method: str = "GET", content: Mapping[str, Any] | None = None, timeout: float = _TIMEOUT
) -> Answer:
    """Asks the API server of a control plane as administrator.

    Raises:
        UnreachableError: it did not answer.
        NodeError: there is no administrator's kubeconfig here.
    """
    connection = http.client.HTTPSConnection(address, _port(), timeout=timeout, context=_context())
    try:
        body = None if content is None else json.dumps(content)
        connection.request(method, path, body, {"Content-Type": "application/json", "Accept": "application/json"})
        answer = connection.getresponse()
        date = email.utils.parsedate_to_datetime(answer.headers["Date"]) if answer.headers["Date"] else None
        return Answer(answer.status, answer.read(), date.timestamp() if date else None)
    except ssl.SSLError as error:
        raise UnreachableError(f"TLS failed ({error.reason or error})") from None
    except (socket.timeout, TimeoutError):
        raise UnreachableError("no answer in time") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(str(error) or type(error).__name__) from None
    finally:
        connection.close()


def _context() -> ssl.SSLContext:
    kubeconfig = (files.read_bytes(places.ADMIN) or b"").decode(errors="replace")
    found = {
        name: re.search(rf"^\s*{name}:\s*[\"']?([A-Za-z0-9+/=]+)", kubeconfig, re.MULTILINE) for name in _CREDENTIALS
    }
    try:
        ca, certificate, key = (base64.b64decode(match[1] if match else "", validate=True) for match in found.values())
        # Not the default context: from Python 3.13 on it refuses CAs that older releases of kubeadm have made.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=ca.decode())
        # OpenSSL reads keys from files only.
        with tempfile.NamedTemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as pair:  # noqa: S108
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    except (OSError, ValueError) as error:
        raise NodeError(
            f"{places.ADMIN} does not hold the administrator's certificate and key ({error})",
            "Create it with `kubeadm init phase kubeconfig admin` on this control plane, then run again.",
        ) from None
    return context


def trouble(address: str) -> str:
    """Why the API server of a control plane is not ready; empty when it is."""
    try:
        answer = ask(address, "/readyz?verbose")
    except UnreachableError as error:
        return str(error)
    said = answer.body.decode(errors="replace")
    wrong = [line for line in said.splitlines() if not line.startswith("[+]")]
    return "" if answer.status == http.client.OK else "; ".join(wrong)[:300] or f"status {answer.status}"


def commands(program: str) -> list[list[str]]:
    """The command lines of all processes of a program on this machine, in containers too."""
    return list(_processes(program).values())


def pods(program: str) -> list[Path]:
    """The control groups of a program's pods on this machine; the kubelet removes them when it has ended the pods."""
    found = []
    for process in _processes(program):
        lines = []
        with contextlib.suppress(OSError):  # it has just ended
            lines = (process / "cgroup").read_text().splitlines()
        for _, controllers, path in (line.split(":", 2) for line in lines):
            group = _CGROUPS / controllers / path.strip("/")
            if "/kubepods" in path and group.is_dir():
                found.append(group.parent)
    return found


def _processes(program: str) -> dict[Path, list[str]]:
    """Its directory in /proc -> the command line of each process of a program."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].rpartition("/")[2] == program:
            found[place.parent] = words
    return found


def runs_with(values: Mapping[str, str]) -> bool:
    """Whether exactly one API server runs here, and has these values of flags."""
    running = commands(_PROGRAM)
    return len(running) == 1 and all(f"{flag}={value}" in running[0] for flag, value in values.items())


def change(address: str, values: Mapping[str, str], earlier: Mapping[str, str] | None = None) -> None:
    """Writes the manifest with other values, and waits until the API server runs with them and is ready.

    Args:
        address: of this machine's API server.
        values: flag -> value.
        earlier: the values that it gets back if it is not ready. Default: those that it has now.

    Raises:
        NodeError: it is not ready in time. The manifest has the earlier values, and the kubelet restarts it once more.
    """
    earlier = earlier or manifest.read(text())
    _write(values)
    try:
        _wait(address, values)
    except NodeError as error:
        _write(earlier)
        raise NodeError(
            f"{error.cause}; the manifest is as it was before",
            f"See `crictl logs` of kube-apiserver and `journalctl -u kubelet` here. {error.remedy}",
        ) from None


def _write(values: Mapping[str, str]) -> None:
    """Edits the manifest as it is now: somebody may have changed other flags meanwhile.

    It is away until the API server's pod has ended. If another manifest were there at once, the kubelet would start it
    only 10 to 15 s after that end: it refuses while the old one ends, and looks again after its `backOffPeriod`.
    """
    before = text()
    after = manifest.edited(before, values)
    if after == before:
        return
    files.write(places.AWAY, after, *files.rights(places.API_SERVER))
    phase("wait until the API server has ended")
    groups = pods(_PROGRAM)
    try:
        files.remove(places.API_SERVER)
        for _ in until(_END_SECONDS, every=0.1):
            if not commands(_PROGRAM) and not any(group.exists() for group in groups):
                break
    finally:
        _put_in_place()


def _put_in_place() -> None:
    """Gives the manifest its name, unless there is one."""
    if places.API_SERVER.exists():
        files.remove(places.AWAY)
    elif places.AWAY.exists():
        places.AWAY.rename(places.API_SERVER)
        files.sync_directory(places.MANIFESTS)


def _wait(address: str, values: Mapping[str, str]) -> None:
    """Waits until this machine's API server runs with these values and is ready.

    Raises:
        NodeError: it is not in time.
    """
    phase("wait until the API server is ready with its new flags")
    said = ""
    for _ in until(_RESTART_SECONDS, every=0.5):
        if not runs_with(values):
            said = "the kubelet has not started it with its new flags"
            continue
        said = trouble(address)
        if not said:
            return
    raise NodeError(f"the API server is not ready: {said}", "Then run again.")


def wait_for_others(address: str, addresses: Mapping[str, str]) -> None:
    """Waits until the API servers of these control planes are ready: only one is away at a time.

    Args:
        address: of this machine's API server; if it is not ready, its restart costs nothing, so there is no wait.
        addresses: of the others, by name.

    Raises:
        NodeError: one of them is not; nothing was changed.
    """
    if trouble(address):
        return
    phase("wait until the other API servers are ready")
    wrong: Sequence[str] = ()
    for left in until(_LINGER_SECONDS, every=1.0):
        refuse_abandoned()
        said = {name: trouble(address) for name, address in addresses.items()}
        wrong = [f"{name}: {why}" for name, why in said.items() if why]
        if not wrong:
            return
        if left == _LINGER_SECONDS:
            say("waits for the other API servers to be ready")
    raise NodeError(
        f"not all other API servers are ready ({'; '.join(wrong)}); this one was not restarted",
        "Bring them back (`journalctl -u kubelet` there), then run again.",
    )


def wait_until_etcd_has_ended(member: str) -> None:
    """Waits until no etcd of that name runs on this machine.

    Raises:
        NodeError: it still runs.
    """
    phase("wait until the stacked etcd has ended")
    for _ in until(_LINGER_SECONDS, every=0.5):
        if not any(f"--name={member}" in words for words in commands(_ETCD)):
            return
    raise NodeError(
        "the stacked etcd still runs, although its manifest is gone", "See `journalctl -u kubelet`, then run again."
    )


def clock_difference(addresses: Mapping[str, str]) -> dict[str, float]:
    """How many seconds the clock here is ahead of those of API servers that answer, by name; exact to a second."""
    found = {}
    for name, address in addresses.items():
        try:
            date = ask(address, "/readyz").date
        except UnreachableError:
            continue
        if date is not None:
            found[name] = time.time() - date
    return found
