"""What Pulumi programs in other languages need: the CLI's language plugins, SDKs, and npm packages. For tests.

An official release of the CLI has the plugins. Those built from Go modules are older than the CLI, because the module
proxy has no newer ones. They run programs, and cannot write SDKs: tools/go/pulumi/sdk does it then.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from tools.base import ToolError, architecture, cache, lock, put_in_place, run, scratch
from tools.gobuild import build, build_all
from tools.packages import can_install, install
from tools.pulumi import ensure_pulumi

PLUGINS = ("pulumi-language-go", "pulumi-language-nodejs", "pulumi-language-yaml")
_YAML, _OTHERS = "1.25.0", "3.62.0"
_SDK = "github.com/pulumi/pulumi/sdk/v3"
_MAKER = "sdk"
_NODE: Mapping[str, str] = {"nodejs": "node", "npm": "npm"}
_LIMIT = 600.0  # seconds


def ensure_languages() -> Path:
    """Return a folder with PLUGINS; builds it if they are missing, which takes a minute.

    Raises:
        ToolError: they cannot be built.
    """
    ours = (ensure_pulumi() / "pulumi").resolve().parent
    if all((ours / name).is_file() for name in PLUGINS):
        return ours
    final = cache() / "pulumi" / f"languages-{_YAML}-{_OTHERS}-{architecture()}"
    if final.is_dir():
        return final
    with lock("build"), scratch() as folder:
        if not final.is_dir():
            ready = folder / "ready"
            ready.mkdir()
            yaml = "pulumi-language-yaml"
            version = f"-s -w -X github.com/pulumi/pulumi-yaml/pkg/version.Version=v{_YAML}"
            build(f"{yaml} {_YAML}", yaml, f"github.com/pulumi/pulumi-yaml/cmd/{yaml}", ready / yaml, version)
            others = [f"{_SDK}/go/pulumi-language-go", f"{_SDK}/nodejs/cmd/pulumi-language-nodejs"]
            build_all(f"language plugins {_OTHERS}", "pulumi-languages", others, ready)
            build("the program that writes SDKs", "pulumi", "./sdk", ready / _MAKER)
            put_in_place(ready, final)
    return final


def write_sdk(language: str, schema: Path, folder: Path) -> Path:
    """Write the SDK for `go` or `nodejs` from a schema; returns its folder below `folder`.

    Raises:
        ToolError: there is no program that can do it, or it failed.
    """
    maker, target = ensure_languages() / _MAKER, folder / language
    folder.mkdir(parents=True, exist_ok=True)
    official = [str(ensure_pulumi() / "pulumi"), "package", "gen-sdk", str(schema), "--language", language]
    ours = [str(maker), language, str(schema), str(target)]
    _run(ours if maker.is_file() else [*official, "--out", str(folder)], folder)
    return target


def ensure_npm(project: Path) -> Path:
    """Return the folder `node_modules` of the packages that the lock file of `project` names; installs what is missing.

    No package's scripts run.

    Raises:
        ToolError: node is missing and cannot be installed, or npm failed.
    """
    files = [project / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    final = cache() / "npm" / digest
    if not final.is_dir():
        with lock("npm"), scratch() as folder:
            if not final.is_dir():
                _ensure_node()
                for path in files:
                    shutil.copy(path, folder)
                _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)
                put_in_place(folder / "node_modules", final / "node_modules")
    _ensure_node()
    return final / "node_modules"


def _ensure_node() -> None:
    absent = [package for package, program in _NODE.items() if shutil.which(program) is None]
    if absent and not can_install():
        raise ToolError(
            f"Tests of TypeScript need {' '.join(absent)}. Install them as root: apt-get install nodejs npm"
        )
    if absent:
        install(absent)


def _run(command: list[str], folder: Path) -> None:
    run(["nice", "-n", "10", *command], _LIMIT, folder=folder, environ={"PULUMI_SKIP_UPDATE_CHECK": "true"})
