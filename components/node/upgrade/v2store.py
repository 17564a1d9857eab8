"""Whether the data directory holds data of etcd's old API v2. Etcd 3.6 exits if it finds any."""

from __future__ import annotations

from pathlib import Path

from ..protocol import wal
from ..service import release
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import until
from ..shared.spec import Spec

_WITHOUT = (3, 6)
"""The first minor without API v2."""
_SECONDS = 60.0
_CLEAN = "No custom content found"
_FOUND = "custom"
# While etcd writes, the log may end in half a record, and a segment may be removed: then retry.
_TRIES_SECONDS = 10.0


def applies(running: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether a change between these minors requires data without API v2."""
    return running < _WITHOUT <= wanted


def refuse_dirty(spec: Spec, running: str) -> None:
    """Refuses data that etcd 3.6 cannot use; asks the etcdutl of the release that wrote them.

    The data are in use, and etcdutl renames files that it considers broken. So it gets a directory with links to them.

    Args:
        running: the version that runs, 3.5.32 or later: etcdutl knows this check from then on.

    Raises:
        NodeError: there are API v2 data, or that is unknown; nothing was changed.
    """
    if not wal.exists(spec.data_directory):
        return
    links = paths.RUN / "v2store"
    said = ""
    try:
        for _ in until(_TRIES_SECONDS, every=1.0):
            _link(Path(spec.data_directory), links)
            done = run(
                [str(release.directory(running) / "etcdutl"), "check", "v2store", f"--data-dir={links}"],
                _SECONDS,
                check=False,
            )
            said = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["it said nothing"])[-1]
            if done.returncode == 0 and _CLEAN in done.stdout:
                return
            if _FOUND in said:
                raise NodeError(
                    f"the data of this member contain API v2 data, which etcd {spec.release.version} cannot read "
                    f"(`etcdutl check v2store`: {said.removeprefix('Error: ')}); nothing was changed",
                    "On one member, start etcd with API v2 (a file etcd.service.d/v2.conf with the lines [Service] "
                    "and Environment=ETCD_ENABLE_V2=true). Look below /v2/keys, copy what is needed to API v3, delete "
                    "it there, and remove that file. Then let every member write a snapshot: set the flag "
                    "snapshot-count: 1 for one `pulumi up`, and remove it in the next, which may also set the version.",
                )
    finally:
        files.remove_tree(links)
        files.remove_empty([paths.RUN])
    raise NodeError(
        f"it is unknown whether the data of this member contain API v2 data (`etcdutl check v2store`: {said}); "
        f"nothing was changed, because etcd {spec.release.version} would not start with them",
        "Run again. If it fails again, see `journalctl -u etcd`.",
    )


def _link(data: Path, links: Path) -> None:
    files.remove_tree(links)
    files.directory(paths.RUN, 0o700)
    for kind in ("wal", "snap"):
        place = links / "member" / kind
        place.mkdir(mode=0o700, parents=True)
        for file in (data / "member" / kind).glob(f"*.{kind}"):
            (place / file.name).symlink_to(file)
