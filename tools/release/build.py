"""All files of a release, in one folder."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tools.base import say, scratch
from tools.release import archives
from tools.release.bill import bill_of_materials
from tools.release.source import Source

SUMS = "SHA256SUMS"


def build(source: Source, directory: Path) -> Path:
    """Build everything into `directory/VERSION`, which is replaced; returns that folder.

    Raises:
        ToolError: a part could not be built. The folder is as before.
    """
    with scratch() as place:
        files, made = place / "source", place / "made"
        source.copy_to(files)
        made.mkdir()
        archives.plugin(files, source, made)
        archives.python_packages(files, source, made)
        bill = made / f"external-etcd-{source.name}.cdx.json"
        bill.write_text(bill_of_materials(files, source))
        sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(made.iterdir())]
        (made / SUMS).write_text("".join(sums))
        ready = directory / source.name
        ready.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(ready, ignore_errors=True)
        shutil.move(made, ready)  # The cache may be on another file system.
    for line in (ready / SUMS).read_text().splitlines():
        say(line)
    return ready
