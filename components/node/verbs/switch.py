"""switch: the API server of this control plane uses the external members. switch_back: its stacked member again."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..control_plane import api_server, manifest, places
from ..control_plane.plan import Plan
from ..protocol import etcd
from ..shared import files
from ..shared.errors import NodeError
from ..shared.say import phase, refuse_abandoned, say

_NAMES = ("ca.crt", "client.crt", "client.key")
_MODES = (0o644, 0o644, 0o600)
"""Of files that are not there yet."""


def switch(plan: Plan, given: Mapping[str, str]) -> None:
    """Switches the API server; one that uses the external members already is only proved.

    Args:
        given: the API server's files for etcd, by their names on standard input.

    Raises:
        NodeError: it must not be switched now, and nothing was changed; or it was not ready afterwards, and its
            flags and files are those that were kept, even by an earlier run, while it has a stacked member.
    """
    values = _external(plan)
    before = api_server.text()
    address = api_server.own_address(plan.address)
    _refuse_unreachable(plan, given)
    switched = manifest.read(before) == values
    if not switched:
        api_server.wait_for_others(address, plan.others)
        refuse_abandoned()
        phase("keep the files of the API server")
        _keep(plan, before)
    _put(dict(zip(_paths(), (given[name] for name in _NAMES))))
    # Without a stacked member, which has left or is sick, an API server that was switched before stays so.
    earlier = None if _stacked_trouble(plan) else _kept(plan)
    if not switched:
        say(f"its API server restarts with {manifest.SERVERS}={values[manifest.SERVERS]}")
    try:
        api_server.change(address, values, earlier)
    except NodeError:
        if not plan.uses_external(_servers()):
            _restore()
        raise
    say("its API server uses the external members" if switched else "its API server is ready again")


def switch_back(plan: Plan) -> None:
    """Restores what `switch` has changed; does nothing on a control plane that was not switched.

    Raises:
        NodeError: it must not be switched now; nothing was changed.
    """
    if not plan.uses_external(_servers()):
        # A switch may have been interrupted before it came to the manifest.
        _restore()
        say("its API server uses its stacked member")
        return
    values = _kept(plan)
    if values is None:
        raise NodeError(
            f"{places.kept(places.API_SERVER)} is missing or has external members, so the flags of before are unknown; "
            "nothing was changed",
            f"Set {', '.join(manifest.FLAGS)} in {places.API_SERVER} by hand, then run again.",
        )
    _refuse_without_stacked_member(plan)
    address = api_server.own_address(plan.address)
    api_server.wait_for_others(address, plan.others)
    refuse_abandoned()
    say(f"its API server restarts with {manifest.SERVERS}={values[manifest.SERVERS]}")
    api_server.change(address, values)
    _restore()
    say("its API server is ready again, with its stacked member")


def _paths() -> tuple[Path, ...]:
    """The API server's files for etcd, in the order of their names."""
    return places.CA_FILE, places.CERTIFICATE_FILE, places.KEY_FILE


def _put(contents: Mapping[Path, bytes | str]) -> None:
    modes = dict(zip(_paths(), _MODES))
    files.write_together(contents, {path: files.rights(path, modes[path]) for path in contents})


def _external(plan: Plan) -> dict[str, str]:
    names = [",".join(plan.endpoints), *(str(path) for path in _paths())]
    return dict(zip(manifest.FLAGS, names))


def _servers() -> str:
    return manifest.read(api_server.text())[manifest.SERVERS]


def _kept(plan: Plan) -> dict[str, str] | None:
    """The flags of before the first switch; None if they are unknown."""
    kept = files.read_bytes(places.kept(places.API_SERVER))
    values = manifest.read(kept.decode()) if kept is not None else None
    return None if values is None or plan.uses_external(values[manifest.SERVERS]) else values


def _keep(plan: Plan, text: str) -> None:
    """Keeps the manifest and the client certificate as they are now, before the first change.

    What is kept already is the first one if external members are in the manifest. The first certificate is always
    kept: an interrupted switch has replaced it since.
    """
    files.directory(places.KEPT, 0o700)
    if not plan.uses_external(manifest.read(text)[manifest.SERVERS]):
        files.write(places.kept(places.API_SERVER), text, 0o600)
    for path in _paths():
        if files.read_bytes(places.kept(path)) is None:
            files.write(places.kept(path), files.read_bytes(path) or b"", 0o600)


def _restore() -> None:
    """Puts back what is kept of the client certificate; then nothing is kept any more, nor left by a killed run."""
    kept = {path: files.read_bytes(places.kept(path)) for path in _paths()}
    _put({path: content for path, content in kept.items() if content is not None})
    files.remove(files.unfinished(places.AWAY))
    for path in (places.API_SERVER, *_paths()):
        for left in (places.kept(path), files.unfinished(places.kept(path)), files.unfinished(path)):
            files.remove(left)
    files.remove_empty([places.KEPT])


def _refuse_unreachable(plan: Plan, given: Mapping[str, str]) -> None:
    """Every external member must serve this machine, with exactly the certificate that the API server gets."""
    phase("ask every external member with the API server's new certificate")
    with _laid_out(given) as place:
        answers = etcd.each(lambda address: etcd.ready(plan, address, place=place), plan.members)
    wrong = {
        name: answer.trouble if isinstance(answer, etcd.Ready) else str(answer) for name, answer in answers.items()
    }
    said = "; ".join(f"{name}: {why}" for name, why in wrong.items() if why)
    if said:
        raise NodeError(
            f"not every external member serves this control plane ({said}); its API server was not switched",
            f"Port {plan.client_port} of every member must be open to all control planes, and every member healthy "
            "(`etcd-node status` there). Then run again.",
        )


def _stacked_trouble(plan: Plan) -> str:
    """Why the stacked member on this machine is not ready; empty when it is."""
    phase("ask the stacked member")
    try:
        return etcd.ready(plan, plan.address).trouble
    except (etcd.SilentError, etcd.AlienError) as error:
        return str(error)


def _refuse_without_stacked_member(plan: Plan) -> None:
    said = _stacked_trouble(plan)
    if said:
        raise NodeError(
            f"the stacked member on this machine is not ready ({said}); the API server was not switched back",
            "Bring it back (`crictl ps -a`, `journalctl -u kubelet`), then run again.",
        )


@contextlib.contextmanager
def _laid_out(given: Mapping[str, str]) -> Iterator[Path]:
    """A directory in memory with the API server's certificate, under the names of a machine's own client."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:  # noqa: S108
        place = Path(directory)
        for name, content in given.items():
            path = place / name.replace("client.", "healthcheck-client.")
            path.touch(mode=0o600)
            path.write_text(content)
        yield place
