"""Programs in other languages, in stacks of tests: the plugin of this repository, and what each language needs."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.plugin.provider import Provider
from tools.base import ToolError
from tools.gobuild import go_command
from tools.languages import ensure_languages, ensure_npm, write_sdk

from .needs import leave_out
from .stacks import REPO, Stack, Stacks

EXAMPLES = REPO / "examples"
_PLUGIN = ("PulumiPlugin.yaml", "__main__.py")
_SECONDS = 120


class Languages:
    """The example programs, with the plugin and the SDKs of this repository.

    Args:
        directory: an empty folder for SDKs and packages.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._languages = ensure_languages()
        self._files: dict[str, dict[str, Path]] = {}
        # Its own virtual environment, which `pulumi package add` creates, would take half a minute.
        (directory / "plugin").mkdir(parents=True)
        for name, target in {**{each: REPO / "plugin" / each for each in _PLUGIN}, ".venv": REPO / ".venv"}.items():
            (directory / "plugin" / name).symlink_to(target)
        self._schema = directory / "schema.json"
        self._schema.write_text(str(Provider("0.1.0").schema))

    def stack(self, stacks: Stacks, example: str, config: Mapping[str, Any], like: Stack | None = None) -> Stack:
        """A stack of the example in a language: `python`, `yaml`, `typescript` or `go`. `like`: as in `Stacks`.

        Those with machines on a cloud: `yaml-aws`, `yaml-hetzner`, `typescript-aws`, `go-hetzner`.
        """
        language, _, cloud = example.partition("-")
        if example not in self._files:
            self._files[example] = self._on_cloud(language, cloud) if cloud else getattr(self, f"_{language}")()
        files = self._files[example]
        project = re.search(r"^name: (.*)$", files["Pulumi.yaml"].read_text(), re.M)
        assert project is not None, example
        found = stacks.of_project(project[1], files, config, like)
        # The plugin of YAML starts others itself, and knows only PATH.
        cli = Path(str(shutil.which("pulumi", path=found.environ["PATH"]))).resolve().parent
        path = [
            found.environ["PATH"],
            str(self._languages),
            str(cli),
            *([str(_go_folder())] if language == "go" else []),
        ]
        found.environ = {**found.environ, "PATH": os.pathsep.join(path), "GOWORK": "off"}
        # The compiler has checked the types once.
        found.environ |= {"PULUMI_NODEJS_TRANSPILE_ONLY": "true"}
        return found

    def _on_cloud(self, language: str, cloud: str) -> dict[str, Path]:
        """The example in YAML is a project of its own; one in another language is another program of its project."""
        if language == "yaml":
            return {"Pulumi.yaml": self._project(f"yaml-{cloud}")}
        if language not in self._files:
            self._files[language] = getattr(self, f"_{language}")()
        files = self._files[language]
        project = self._directory / f"{language}-{cloud}.yaml"
        program = cloud if language == "go" else f"{cloud}.ts"
        project.write_text(f"{files['Pulumi.yaml'].read_text()}main: {program}\n")
        return {**files, "Pulumi.yaml": project}

    def _python(self) -> dict[str, Path]:
        library = EXAMPLES / "library"
        files = {name: library / name for name in ("Pulumi.yaml", "__main__.py")}
        return {**files, "external_etcd": REPO / "components", ".venv": REPO / ".venv"}

    def _yaml(self) -> dict[str, Path]:
        return {"Pulumi.yaml": self._project("yaml")}

    def _typescript(self) -> dict[str, Path]:
        packages = ensure_npm(EXAMPLES / "typescript")
        project, modules = self._project("typescript"), self._directory / "typescript" / "node_modules"
        modules.mkdir()
        for each in packages.iterdir():
            if each.name != "@pulumi":
                (modules / each.name).symlink_to(each)
        (modules / "@pulumi").mkdir()
        (modules / "@pulumi" / "pulumi").symlink_to(packages / "@pulumi" / "pulumi")
        sdk = modules / "@pulumi" / "external-etcd"
        shutil.copytree(write_sdk("nodejs", self._schema, self._directory / "sdk"), sdk)
        # What the SDK's own script does after its installation; and then the example, whose types must fit.
        for name in ("index.ts", "aws.ts", "tsconfig.json"):
            shutil.copy(EXAMPLES / "typescript" / name, project.parent)
        compiler = ["node", str(packages / "typescript" / "bin" / "tsc"), "--skipLibCheck", "-p"]
        _run([*compiler, str(sdk)])
        shutil.copy(sdk / "package.json", sdk / "bin")
        _run([*compiler, str(project.parent)])
        names = ("Pulumi.yaml", "index.ts", "aws.ts", "tsconfig.json", "node_modules")
        return {name: project.parent / name for name in names} | {
            "package.json": EXAMPLES / "typescript" / "package.json"
        }

    def _go(self) -> dict[str, Path]:
        project = self._project("go")
        for name in ("main.go", "go.mod", "go.sum"):
            shutil.copy(EXAMPLES / "go" / name, project.parent)
        shutil.copytree(EXAMPLES / "go" / "hetzner", project.parent / "hetzner")
        module = "example.com/pulumi-external-etcd/sdk/go/external-etcd"
        wanted = re.search(r"^\t(github.com/pulumi/pulumi/sdk/v3 .*)$", (project.parent / "go.mod").read_text(), re.M)
        assert wanted is not None
        sdk = project.parent / "sdks" / "external-etcd"
        shutil.copytree(write_sdk("go", self._schema, self._directory / "sdk") / "externaletcd", sdk)
        (sdk / "go.mod").write_text(f"module {module}\n\ngo 1.25.0\n\nrequire {wanted[1]}\n")
        return {path.name: path for path in project.parent.iterdir()}

    def _project(self, language: str) -> Path:
        """The example's Pulumi.yaml, with the plugin of this test."""
        text = (EXAMPLES / language / "Pulumi.yaml").read_text()
        assert "external-etcd: ../../plugin\n" in text, language
        path = self._directory / language / "Pulumi.yaml"
        path.parent.mkdir()
        path.write_text(text.replace("../../plugin", str(self._directory / "plugin")))
        return path


def change(stack: Stack, was: str, is_: str) -> None:
    """Write another text into a program in YAML."""
    path = stack.directory / "Pulumi.yaml"
    program = path.read_text()
    assert was in program, was
    path.unlink()
    path.write_text(program.replace(was, is_))


def _go_folder() -> Path:
    try:
        return Path(go_command(EXAMPLES / "go")).parent
    except ToolError as error:
        leave_out(str(error))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
