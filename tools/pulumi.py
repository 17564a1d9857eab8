"""A Pulumi CLI: the one on PATH, the official release, or one built from Go modules."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import Path

from tools.base import REPOSITORY, ToolError, architecture, cache, first_way, lock, put_in_place, run, say, scratch
from tools.download import checksum_in, fetch, read_text
from tools.gobuild import build, expect_version
from tools.language_host import NAME as _HOST
from tools.language_host import build_host

OLDEST = (3, 232, 0)  # required by Pulumi.yaml
OFFICIAL = "3.272.0"  # the release of the SDK in requirements.txt
BUILT = "3.232.0"  # tools/go/pulumi
ARCHIVES = "https://get.pulumi.com/releases/sdk"
CHECKSUMS = "https://github.com/pulumi/pulumi/releases/download"
LINKS = REPOSITORY / ".tools" / "bin"
_SDK = "github.com/pulumi/pulumi/sdk/v3"

# The Python language host that can be built is older than the CLI: it does not read the options of Pulumi.yaml, and
# newer CLIs no longer pass them as arguments. It is started in the project's folder.
_HOST_SCRIPT = r"""#!/bin/sh
venv=$(sed -n "s/.*virtualenv: *[\"']\{0,1\}\([^,}\"' #]*\).*/\1/p" Pulumi.yaml 2>/dev/null | head -n 1)
here=$(dirname "$(readlink -f "$0")")
exec "$here/built/pulumi-language-python" ${venv:+-root "$PWD" -virtualenv "$venv"} "$@"
"""

# After a failure the engine interrupts the program; its traceback would hide the failure.
_EXEC_SCRIPT = """\
import os
import runpy
import signal
import sys


def end(*_):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


signal.signal(signal.SIGINT, end)
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py"), run_name="__main__")
"""


def parse_version(text: str) -> tuple[int, int, int]:
    """Return the three numbers of `v3.232.0`; a suffix like `-alpha...` or a newline is ignored.

    Raises:
        ToolError: not a version.
    """
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    if not found:
        raise ToolError(f"{text.strip()!r} is not a Pulumi version")
    return int(found[1]), int(found[2]), int(found[3])


def on_path() -> Path | None:
    """Return the folder of the `pulumi` on PATH, or None if there is none.

    Raises:
        ToolError: it is too old or has no Python language plugin.
    """
    # Without the link of an earlier run, which says nothing about this computer.
    folders = [folder for folder in os.get_exec_path() if Path(folder).resolve() != LINKS.resolve()]
    found = shutil.which("pulumi", path=os.pathsep.join(folders))
    if found is None:
        return None
    version = parse_version(run([found, "version"], 30, environ={"PULUMI_SKIP_UPDATE_CHECK": "true"}))
    if version < OLDEST:
        raise ToolError(f"{found} is {'.'.join(map(str, version))}, older than {'.'.join(map(str, OLDEST))}")
    if not (Path(found).resolve().parent / _HOST).exists() and shutil.which(_HOST) is None:
        raise ToolError(f"{found} has no {_HOST} beside it or on PATH")
    return Path(found).parent


def _official(folder: Path) -> Path:
    arch = {"amd64": "x64", "arm64": "arm64"}[architecture()]
    final = _official_folder()
    name = f"pulumi-v{OFFICIAL}-linux-{arch}.tar.gz"
    source = f"{CHECKSUMS}/v{OFFICIAL}/pulumi-{OFFICIAL}-checksums.txt"
    fetch(f"{ARCHIVES}/{name}", folder / name, checksum_in(read_text(source), name, source))
    with tarfile.open(folder / name) as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() else None
            # The archive is flat; only base names are used, so nothing can be written elsewhere.
            program = folder / "official" / Path(entry.name).name
            program.parent.mkdir(exist_ok=True)
            if content is not None:
                with program.open("wb") as stream:
                    shutil.copyfileobj(content, stream)
                program.chmod(0o755)
    expect_version([str(folder / "official" / "pulumi"), "version"], f"v{OFFICIAL}")
    put_in_place(folder / "official", final)
    return final


def _built(folder: Path) -> Path:
    ready = folder / "ready"
    (ready / "built").mkdir(parents=True)
    version_flag = f"-X {_SDK}/go/common/version.Version=v{BUILT}"
    build(
        f"pulumi {BUILT}",
        "pulumi",
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        ready / "pulumi",
        f"-s -w {version_flag}",
    )
    source = build_host(f"pulumi {BUILT}: {_HOST}", ready / "built")
    copies = {
        source / "cmd" / f"{_HOST}-exec": ready / "built" / "program.py",
        # The engine itself starts these: providers and policies written in Python.
        source / "dist" / "pulumi-resource-pulumi-python": ready / "pulumi-resource-pulumi-python",
        source / "dist" / "pulumi-analyzer-policy-python": ready / "pulumi-analyzer-policy-python",
    }
    for original, copy in copies.items():
        shutil.copyfile(original, copy)
        copy.chmod(0o755)
    for script, text in {ready / _HOST: _HOST_SCRIPT, ready / "built" / f"{_HOST}-exec": _EXEC_SCRIPT}.items():
        script.write_text(text)
        script.chmod(0o755)
    expect_version([str(ready / "pulumi"), "version"], f"v{BUILT}")
    put_in_place(ready, _built_folder())
    return _built_folder()


def _official_folder() -> Path:
    return cache() / "pulumi" / f"v{OFFICIAL}-{architecture()}"


def _built_folder() -> Path:
    # The number is raised when anything but the version changes, so that computers build it again.
    return cache() / "pulumi" / f"v{BUILT}-{architecture()}-built-2"


def link(folder: Path, links: Path) -> None:
    """Link `links`/pulumi to the one in `folder`. The CLI finds its plugins beside the target."""
    links.mkdir(parents=True, exist_ok=True)
    place = links / "pulumi"
    if place.is_symlink() and place.readlink() == folder / "pulumi":
        return
    fresh = links / f".pulumi.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder / "pulumi")
    fresh.replace(place)


def ensure_pulumi() -> Path:
    """Return the folder of a `pulumi` that runs this project, to put first on PATH; gets it if missing.

    Raises:
        ToolError: no way to get it worked.
    """
    try:
        if (found := on_path()) is not None:
            return found
    except ToolError as error:
        say(f"pulumi: the one on PATH is not used: {error}")
    folder = _cached()
    if folder is None:
        with lock("build"), scratch() as place:
            folder = _cached() or _make(place)
    link(folder, LINKS)
    return LINKS


def _cached() -> Path | None:
    return next((folder for folder in [_official_folder(), _built_folder()] if (folder / "pulumi").is_file()), None)


def _make(place: Path) -> Path:
    def official() -> Path:
        return _official(place)

    def built() -> Path:
        return _built(place)

    return first_way("pulumi", [(f"official release {OFFICIAL}", official), (f"{BUILT} built from Go modules", built)])
