"""The whole program with the real Pulumi engine, for tests: stacks on machines of the session's lab.

All tests in tests/lab have the fixture `stacks`.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lab import Machine
from lab.engine import environment

from . import vault
from .forks import forked
from .spent import ENGINE, spending

REPO = Path(__file__).resolve().parents[2]
UP_SECONDS = 300
_QUICK = Path(__file__).with_name("quick")


@dataclass(frozen=True)
class Run:
    """The result of a CLI run."""

    code: int
    text: str
    """stdout and stderr together, as a user sees them."""
    seconds: float


def override_in(run: Run) -> str:
    """The override that the guard's refusal printed."""
    found = re.search(r"allow-[0-9a-f]{12}", run.text)
    assert found is not None, run.text
    return found[0]


class Stack:
    """A stack, in a folder that looks like a checkout of its project and contains this stack's configuration.

    Args:
        directory: the folder to create; its name is the stack's.
        environ: the engine's environment.
        config: key -> value; keys without a namespace are the project's.
        files: name in the folder -> target of the link.
        project: the project's name, which is the namespace of its configuration.
        like: a stack whose state is copied. Default: no resources.
    """

    quick: ClassVar[bool] = True
    """Whether runs omit what takes half of their CPU time and makes no difference to the tests: pip's list of packages,
    Python's garbage collection, and, unless a test may end the run, the state after every step. The CLI also runs at
    lower priority, so that it does not disturb the machines and the client that measures them."""

    def __init__(
        self,
        directory: Path,
        environ: Mapping[str, str],
        config: Mapping[str, Any],
        files: Mapping[str, Path],
        project: str,
        *,
        like: "Stack | None" = None,
    ) -> None:
        self.directory = directory
        self.log = directory / "up.log"
        """The output of the last or the running `pulumi up`."""
        self.environ = {**os.environ, **environ, **(vault.environment() if self.quick else {})}
        self._project = project
        self.config = dict(config)
        directory.mkdir(parents=True)
        for name, target in files.items():
            (directory / name).symlink_to(target)
        if like is None:
            self.pulumi("stack", "init", directory.name)
        else:
            # As the CLI's `stack rename`, without running it: the name is part of every URN.
            old = re.compile(rf"\b{re.escape(like.directory.name)}\b")
            self._state_file.write_text(old.sub(directory.name, like._state_file.read_text()))
            shutil.copy(like._config_file, self._config_file)

    @property
    def _state_file(self) -> Path:
        backend = urllib.parse.unquote(urllib.parse.urlsplit(self.environ["PULUMI_BACKEND_URL"]).path)
        return Path(backend, ".pulumi", "stacks", self._project, f"{self.directory.name}.json")

    @property
    def _config_file(self) -> Path:
        return self.directory / f"Pulumi.{self.directory.name}.yaml"

    def command(self, *arguments: str) -> list[str]:
        """The CLI's command line for this stack."""
        named = ["-s", self.directory.name]
        if arguments[:2] == ("stack", "init"):
            named = [f"--secrets-provider={vault.PROVIDER}"] if self.quick else []
        nice = ["nice", "-n", "10"] if self.quick else []
        return [*nice, "pulumi", "--non-interactive", "--color=never", *arguments, *named]

    def pulumi(self, *arguments: str, check: bool = True, timeout: float = UP_SECONDS) -> Run:
        """Run the CLI. Raises AssertionError if it fails and `check` is set."""
        self.write_config()
        start = time.monotonic()
        log = self.log if arguments[0] == "up" else self.directory / "run.log"
        with log.open("w") as out, spending(ENGINE), self._forks(arguments[0]) as forks:
            done = subprocess.run(
                self.command(*arguments),
                cwd=self.directory,
                env=self._environ("PULUMI_SKIP_CHECKPOINTS") | forks,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        # While nothing happens the CLI prints dots, and now and then the next line right behind them.
        text = re.sub(r"(?m)^@ \w+( update)?\.+", "", log.read_text())
        run = Run(done.returncode, text, time.monotonic() - start)
        assert run.code == 0 or not check, f"pulumi {' '.join(arguments)} exited with {run.code}:\n{run.text}"
        return run

    def _environ(self, *settings: str) -> dict[str, str]:
        """The environment of a run, with these CLI settings if it is a quick one."""
        if not self.quick:
            return self.environ
        return {**self.environ, "PYTHONPATH": str(_QUICK), **dict.fromkeys(settings, "true")}

    def _forks(self, verb: str) -> contextlib.AbstractContextManager[dict[str, str]]:
        """Additions to the environment of a quick run that no test ends, if it needs plugins.

        Forks have imported this repository's modules, so they cannot run a stack of another checkout.
        """
        code = [self.directory / name for name in ("components", "stacks")]
        other = any(place.exists() and place.resolve() != REPO / place.name for place in code)
        if not self.quick or other or verb not in ("up", "preview", "refresh", "destroy"):
            return contextlib.nullcontext({})
        return forked(self.environ, self.config)

    def write_config(self) -> None:
        """Write `config` to the stack's file, and keep what the CLI needs to decrypt secrets."""
        path = self._config_file
        there = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in there if line.startswith(("encryptionsalt", "encryptedkey", "secretsprovider"))]
        full = {key if ":" in key else f"{self._project}:{key}": value for key, value in self.config.items()}
        lines = [f"  {key}: {json.dumps(value)}" for key, value in full.items()]
        path.write_text("\n".join([*kept, "config:", *lines]) + "\n")

    def shell(self, lines: str) -> None:
        """Run shell lines in the stack's folder, with this stack selected. Raises if one fails."""
        environ = {**self._environ(), "PULUMI_STACK": self.directory.name}
        with spending(ENGINE):
            subprocess.run(["bash", "-euc", lines], cwd=self.directory, env=environ, timeout=120, check=True)

    def beside(self, name: str, config: Mapping[str, Any]) -> "Stack":
        """Another stack of the same project and state, with its own configuration; it is not up."""
        files = {path.name: path.resolve() for path in self.directory.iterdir() if path.is_symlink()}
        return Stack(self.directory.with_name(name), self.environ, config, files, self._project)

    def up(self, *arguments: str, check: bool = True, timeout: float = UP_SECONDS) -> Run:
        """`pulumi up` without a preview."""
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, check=check, timeout=timeout)

    def preview(self, *arguments: str, check: bool = True) -> Run:
        """`pulumi preview`."""
        return self.pulumi("preview", *arguments, check=check)

    def preview_json(self, *, check: bool = True, destroy: bool = False) -> str:
        """`pulumi preview`, or that of a destroy, as JSON: every step. Raises if it fails and `check` is set."""
        self.write_config()
        verb = ("destroy", "--preview-only") if destroy else ("preview",)
        return self._stdout(*verb, "--json", check=check)

    def update(self, *arguments: str, **environ: str) -> dict[str, Any]:
        """The outputs after an update, with these environment variables from now on."""
        self.environ.update(environ)
        self.up(*arguments)
        return self.outputs()

    def destroy(self, *, check: bool = True) -> Run:
        """`pulumi destroy`."""
        return self.pulumi("destroy", "--yes", "--skip-preview", check=check)

    def outputs(self) -> dict[str, Any]:
        """All outputs, with secrets."""
        if self.quick:
            return vault.outputs(self.export()["deployment"])
        return dict(json.loads(self._stdout("stack", "output", "--json", "--show-secrets")))

    def export(self) -> dict[str, Any]:
        """The state as in `pulumi stack export`, with secrets encrypted; read from its file, without a run."""
        state = json.loads(self._state_file.read_text())
        return {"version": state["version"], "deployment": state["checkpoint"]["latest"]}

    def left(self, **outputs: Any) -> None:
        """Change the outputs of the last update; None removes one."""
        state = json.loads(self._state_file.read_text())
        resources = state["checkpoint"]["latest"].setdefault("resources", [])
        name = f"{self._project}-{self.directory.name}"
        urn = f"urn:pulumi:{self.directory.name}::{self._project}::pulumi:pulumi:Stack::{name}"
        if not any(resource["urn"] == urn for resource in resources):
            resources.insert(0, {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack"})
        stack = next(resource for resource in resources if resource["urn"] == urn)
        there = {**stack.get("outputs", {}), **outputs}
        stack["outputs"] = {key: value for key, value in there.items() if value is not None}
        self._state_file.write_text(json.dumps(state))

    @contextlib.contextmanager
    def as_if_refreshed(self, type_: str, **properties: Any) -> Iterator[None]:
        """Meanwhile the state is as if a refresh had found other properties of all resources of a type."""
        before = self._state_file.read_text()
        state = json.loads(before)
        found = [each for each in state["checkpoint"]["latest"]["resources"] if each["type"] == type_]
        assert found, type_
        for each in found:
            each["inputs"] |= properties
            each["outputs"] |= properties
        self._state_file.write_text(json.dumps(state))
        try:
            yield
        finally:
            self._state_file.write_text(before)

    def past_the_guard(self) -> None:
        """Set the override that the refusal of the present change prints, so that the machines decide."""
        self.config["override"] = override_in(self.preview(check=False))

    def _stdout(self, *arguments: str, check: bool = True) -> str:
        with spending(ENGINE), self._forks(arguments[0]) as forks:
            done = subprocess.run(
                self.command(*arguments),
                cwd=self.directory,
                env=self._environ() | forks,
                stdout=subprocess.PIPE,
                text=True,
                timeout=UP_SECONDS,
                check=False,
            )
        text = f"pulumi {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}"
        assert done.returncode == 0 or not check, text
        return done.stdout

    def begin_up(self) -> "Background":
        """Start `pulumi up`; the caller must wait for it or kill it."""
        self.write_config()
        return Background(self)

    def up_killed_when(self, seen: Callable[[], bool], *, within: float = 120) -> None:
        """Start `pulumi up`, and SIGKILL engine, plugins and program as soon as `seen()`.

        Raises AssertionError if the run ends first.
        """
        running = self.begin_up()
        try:
            running.until(seen, within)
        finally:
            running.kill()

    def up_killed_after(self, seconds: float) -> int | None:
        """The same after some seconds. Returns the exit code if the run ended first, None if it was killed."""
        running = self.begin_up()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and running.code is None:
                time.sleep(0.02)
            return running.code
        finally:
            running.kill()


class Background:
    """A `pulumi up` of a stack in the background."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._start = time.monotonic()
        with stack.log.open("w") as out, spending(ENGINE):
            self._process = subprocess.Popen(
                stack.command("up", "--yes", "--skip-preview"),
                cwd=stack.directory,
                env=stack._environ(),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    @property
    def text(self) -> str:
        """Its output so far."""
        return self._stack.log.read_text()

    def until(self, seen: Callable[[], bool], within: float = 120) -> None:
        """Wait until `seen()`. Raises AssertionError if the run ends first, or after `within` seconds."""
        deadline = time.monotonic() + within
        with spending(ENGINE, 0):
            while not seen():
                assert self.code is None, f"the run ended too early:\n{self.text}"
                assert time.monotonic() < deadline, f"the run did not get there in {within:g} s:\n{self.text}"
                time.sleep(0.02)

    def until_said(self, text: str, within: float = 120) -> None:
        """Wait until the run has printed `text`. Raises AssertionError like `until`."""
        self.until(lambda: text in self.text, within)

    def wait(self, timeout: float = UP_SECONDS) -> Run:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        with spending(ENGINE, 0):
            code = self._process.wait(timeout)
        return Run(code, self.text, time.monotonic() - self._start)

    def interrupt(self) -> None:
        """Do what Ctrl-C in its terminal does: SIGINT to its process group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL engine, plugins and program if they still run."""
        if self.code is None:
            # The engine first: finding all processes takes longer than some of its steps.
            self._process.kill()
            for process in processes_of(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._process.wait(30)
            # A killed engine could not unlock its state; its own message tells users to do this.
            self._stack.pulumi("cancel", "--yes", check=False)


def processes_of(leader: int) -> list[int]:
    """The processes of a session, because the engine gives some plugins their own process groups."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(stat.parent.name))
    return found


class Stacks:
    """Creates stacks; their states are in one folder of the session."""

    kind: ClassVar[type[Stack]] = Stack

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environ = environment(directory / "engine")
        self._count = 0
        self._empty: dict[str, Stack] = {}

    def new(self, found: Sequence[Machine], /, *, like: Stack | None = None, **config: Any) -> Stack:
        """A stack for these machines, not yet up. `config` adds or replaces keys; None removes a key.

        With `like` it starts with the state of that stack, which has the same machines and configuration.
        """
        settings = {
            "platform": "hosts",
            "clusterName": "test",
            "releaseMirror": "http://releases.lab",
            "machines": [machine_config(machine) for machine in found],
            # Nine machines at once may make one disk slow.
            "acknowledge": ["slow-disk"],
            **config,
        }
        settings = {key: value for key, value in settings.items() if value is not None}
        names = ("Pulumi.yaml", "__main__.py", "components", "stacks", ".venv", "requirements.txt")
        return self.of_project("external-etcd", {name: REPO / name for name in names}, settings, like)

    def of_project(
        self, project: str, files: Mapping[str, Path], config: Mapping[str, Any], like: Stack | None = None
    ) -> Stack:
        """A stack of another project: its files (name -> path) and its configuration."""
        if project not in self._empty:
            # The CLI creates one; all others begin with a copy.
            self._empty[project] = self._new({}, files, project)
        return self._new(config, files, project, like or self._empty[project])

    def _new(
        self, config: Mapping[str, Any], files: Mapping[str, Path], project: str, like: Stack | None = None
    ) -> Stack:
        self._count += 1
        # The name occurs nowhere else in a state.
        return self.kind(self._directory / f"test{self._count}", self._environ, config, files, project, like=like)


def program_stack(
    project: str, program: str, directory: Path, environ: Mapping[str, str], config: Mapping[str, Any]
) -> Stack:
    """A stack of a program given as text, which can import the components."""
    files = {"__main__.py": directory / "program.py", "Pulumi.yaml": directory / "project.yaml"}
    files["__main__.py"].write_text(program)
    files["Pulumi.yaml"].write_text(f"name: {project}\nruntime: python\n")
    files["components"] = REPO / "components"
    return Stack(directory / "dev", environ, config, files, project)


def machine_config(machine: Machine, **ssh: Any) -> dict[str, Any]:
    """The `machines` entry in the configuration for a machine of the lab."""
    login = {
        "host": machine.address,
        "user": "operator",
        "privateKeyFile": str(machine.key_file),
        "hostKey": machine.host_key,
    }
    return {"name": machine.name, "address": machine.address, "ssh": {**login, **ssh}}


@pytest.fixture(scope="session")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stacks]:
    """Stacks with the real engine."""
    yield Stacks(tmp_path_factory.mktemp("stacks"))
