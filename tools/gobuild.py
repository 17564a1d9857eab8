"""Programs built from Go modules, for computers that reach a module proxy but not the release servers.

The go.mod and go.sum files below tools/go, one module per program version, pin what is built.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.base import REPOSITORY, ToolError, run, say

BUILD_LIMIT = 1800.0  # seconds for one program, including the download of its modules
_DOWNLOAD_LIMIT = 300.0  # seconds for one module
_MODULES = REPOSITORY / "tools" / "go"


def module_folder(module: str) -> Path:
    """Return the folder of the committed module; only supported versions have one.

    Raises:
        ToolError: there is none.
    """
    folder = _MODULES / module
    if not (folder / "go.mod").is_file():
        known = ", ".join(sorted(path.parent.name for path in _MODULES.glob("*/go.mod")))
        raise ToolError(f"there is no tools/go/{module} to build from (there are: {known})")
    return folder


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def go_command(folder: Path) -> str:
    """Return the go command that can build the module in `folder`.

    Raises:
        ToolError: go is missing, or too old and not allowed to download a newer one.
    """
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    wanted = re.search(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
    needed = wanted[1] if wanted else "1.26"
    remedy = f"Install Go {needed} or newer (Debian package golang, or https://go.dev/dl)"
    if go is None:
        raise ToolError(f"go is missing. {remedy}")
    # Outside the module: inside it, an old go would already try to download a newer one, or fail.
    asked = run([go, "env", "GOVERSION", "GOTOOLCHAIN"], 60, folder=Path("/"))
    version, chooser = [*asked.split(), "", ""][:2]
    # go can download a newer go since 1.21.
    if _numbers(version) < _numbers(needed) and (chooser == "local" or _numbers(version) < (1, 21)):
        raise ToolError(f"go is {version.removeprefix('go') or 'unknown'}, which is too old. {remedy}")
    return go


def build(what: str, module: str, package: str, target: Path, ldflags: str = "-s -w") -> None:
    """Build main package `package` of tools/go/`module` into the file `target`: static, without paths of this machine.

    Raises:
        ToolError: go is missing or too old, or the build failed or took more than BUILD_LIMIT seconds.
    """
    _build(what, module_folder(module), [package], str(target), ldflags)


def build_changed(what: str, module: str, sources: Mapping[str, str], target: Path) -> None:
    """Build a main package of these files (name -> content) with the dependencies of tools/go/`module`, as `build`.

    Raises:
        ToolError: as from `build`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pins = [module_folder(module) / name for name in ("go.mod", "go.sum")]
        for name, content in {**{pin.name: pin.read_text() for pin in pins}, **sources}.items():
            Path(scratch, name).write_text(content)
        _build(what, Path(scratch), ["."], str(target), "-s -w")


def build_all(what: str, module: str, packages: Sequence[str], folder: Path, ldflags: str = "-s -w") -> None:
    """Build several main packages into files of `folder` with their names, at most BUILD_LIMIT seconds for each.

    Raises:
        ToolError: as from `build`.
    """
    _build(what, module_folder(module), packages, f"{folder}/", ldflags)


def _build(what: str, folder: Path, packages: Sequence[str], target: str, ldflags: str) -> None:
    go = go_command(folder)
    say(f"{what}: building from Go modules ...")
    # One build at a time, because go itself uses all processors; at low priority, because people work here.
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", ldflags]
    run(
        ["nice", "-n", "10", go, "build", *flags, "-o", target, *packages],
        BUILD_LIMIT * len(packages),
        f"go build {' '.join(packages)} for {what}",
        folder,
        {"CGO_ENABLED": "0", "GOWORK": "off"},
    )


def module_source(module: str, path: str) -> Path:
    """Return the folder with the source of the dependency `path` of tools/go/`module`; downloads it if necessary.

    Raises:
        ToolError: go cannot download it.
    """
    folder, found = module_folder(module), ""
    for arguments in (["mod", "download", path], ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path]):
        found = run([go_command(folder), *arguments], _DOWNLOAD_LIMIT, folder=folder, environ={"GOWORK": "off"})
    return Path(found.strip())


def download_module(path: str, version: str) -> Path:
    """Download a Go module of which nothing is built; returns the folder with its source, checked by go.

    Raises:
        ToolError: go is missing, too old, or cannot get the module.
    """
    command = [go_command(module_folder("kubernetes")), "mod", "download", "-json", f"{path}@v{version}"]
    # Outside of every module, whose go.mod would have to know this one.
    return Path(json.loads(run(command, _DOWNLOAD_LIMIT, folder=Path("/"), environ={"GOWORK": "off"}))["Dir"])


def expect_version(command: list[str], expected: str) -> None:
    """Run `command` and check that its output contains `expected`.

    Raises:
        ToolError: the program does not run, or prints something else.
    """
    if expected not in (printed := run(command, 60)):
        raise ToolError(f"`{' '.join(command)}` does not print {expected}, but: {printed.strip()}")
