"""The whole program under the real Pulumi engine, for tests: one stack on machines of the session's lab.

tests/lab/conftest.py gives the fixture `stacks` to every test there.
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

from .spent import ENGINE, spending

REPO = Path(__file__).resolve().parents[2]
UP_SECONDS = 300
_QUICK = Path(__file__).with_name("quick")


@dataclass(frozen=True)
class Run:
    """What one run of the CLI did."""

    code: int
    text: str
    """stdout and stderr together, as a person sees them."""
    seconds: float


def override_in(run: Run) -> str:
    """The override that a refusal of the guard printed."""
    found = re.search(r"allow-[0-9a-f]{12}", run.text)
    assert found is not None, run.text
    return found[0]


class Stack:
    """One stack, in a folder that looks like a checkout of its project and holds this stack's configuration.

    Args:
        directory: the folder to make; its name is the stack's.
        environ: the engine's environment.
        config: key -> value; keys without a namespace are the project's.
        files: name in the folder -> what it links to.
        project: the project's name, which is the namespace of its configuration.
        like: a stack whose state this one begins with. Default: it has no resources.
    """

    quick: ClassVar[bool] = True
    """Whether runs do without what takes half of their CPU time and makes no difference to what is tested: pip's list
    of packages, and, where nobody ends the run, the state after every step. The CLI runs at
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
        """What the last or the running `pulumi up` has said."""
        self.environ = {**os.environ, **environ}
        self._project = project
        self.config = dict(config)
        directory.mkdir(parents=True)
        for name, target in files.items():
            (directory / name).symlink_to(target)
        if like is None:
            self.pulumi("stack", "init", directory.name)
        else:
            # What the CLI's `stack rename` does, without a run of it: the name is part of every URN.
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
        """The command line of the CLI for this stack."""
        named = [] if arguments[:2] == ("stack", "init") else ["-s", self.directory.name]
        nice = ["nice", "-n", "10"] if self.quick else []
        return [*nice, "pulumi", "--non-interactive", "--color=never", *named, *arguments]

    def pulumi(self, *arguments: str, check: bool = True, timeout: float = UP_SECONDS) -> Run:
        """Runs the CLI. Raises AssertionError when it fails and `check` is set."""
        self.write_config()
        start = time.monotonic()
        log = self.log if arguments[0] == "up" else self.directory / "run.log"
        with log.open("w") as out, spending(ENGINE):
            done = subprocess.run(
                self.command(*arguments),
                cwd=self.directory,
                env=self._environ("PULUMI_SKIP_CHECKPOINTS"),
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        run = Run(done.returncode, log.read_text(), time.monotonic() - start)
        assert run.code == 0 or not check, f"pulumi {' '.join(arguments)} exited with {run.code}:\n{run.text}"
        return run

    def _environ(self, *settings: str) -> dict[str, str]:
        """The environment of a run, with these settings of the CLI where it is a quick one."""
        if not self.quick:
            return self.environ
        return {**self.environ, "PYTHONPATH": str(_QUICK), **dict.fromkeys(settings, "true")}

    def write_config(self) -> None:
        """Writes `config` into the stack's file, beside the encryption salt that the CLI keeps there."""
        path = self._config_file
        kept = (
            [line for line in path.read_text().splitlines() if line.startswith("encryptionsalt")]
            if path.exists()
            else []
        )
        full = {key if ":" in key else f"{self._project}:{key}": value for key, value in self.config.items()}
        lines = [f"  {key}: {json.dumps(value)}" for key, value in full.items()]
        path.write_text("\n".join([*kept, "config:", *lines]) + "\n")

    def shell(self, lines: str) -> None:
        """Runs shell lines in the stack's folder, with this stack selected. Raises when one of them fails."""
        environ = {**self._environ(), "PULUMI_STACK": self.directory.name}
        with spending(ENGINE):
            subprocess.run(["bash", "-euc", lines], cwd=self.directory, env=environ, timeout=120, check=True)

    def beside(self, name: str, config: Mapping[str, Any]) -> "Stack":
        """Another stack of the same project and state, with a configuration of its own; it is not up."""
        files = {path.name: path.resolve() for path in self.directory.iterdir() if path.is_symlink()}
        return Stack(self.directory.with_name(name), self.environ, config, files, self._project)

    def up(self, *arguments: str, check: bool = True, timeout: float = UP_SECONDS) -> Run:
        """`pulumi up` without a preview before it."""
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, check=check, timeout=timeout)

    def preview(self, *arguments: str, check: bool = True) -> Run:
        """`pulumi preview`."""
        return self.pulumi("preview", *arguments, check=check)

    def preview_json(self) -> str:
        """`pulumi preview` as JSON: every step, secrets hidden."""
        self.write_config()
        return self._stdout("preview", "--json")

    def destroy(self, *, check: bool = True) -> Run:
        """`pulumi destroy`."""
        return self.pulumi("destroy", "--yes", "--skip-preview", check=check)

    def outputs(self) -> dict[str, Any]:
        """All outputs, secrets shown."""
        return dict(json.loads(self._stdout("stack", "output", "--json", "--show-secrets")))

    def export(self) -> dict[str, Any]:
        """The state as `pulumi stack export` gives it, secrets encrypted."""
        return dict(json.loads(self._stdout("stack", "export")))

    def left(self, **outputs: Any) -> None:
        """Makes it look as if the last update had left these outputs; None takes one away."""
        state = self.export()
        resources = state["deployment"].setdefault("resources", [])
        name = f"{self._project}-{self.directory.name}"
        urn = f"urn:pulumi:{self.directory.name}::{self._project}::pulumi:pulumi:Stack::{name}"
        if not any(resource["urn"] == urn for resource in resources):
            resources.insert(0, {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack"})
        stack = next(resource for resource in resources if resource["urn"] == urn)
        there = {**stack.get("outputs", {}), **outputs}
        stack["outputs"] = {key: value for key, value in there.items() if value is not None}
        file = self.directory / "state.json"
        file.write_text(json.dumps(state))
        self.pulumi("stack", "import", "--file", str(file))

    def past_the_guard(self) -> None:
        """Sets the override that the refusal of the present change prints, so that the machines decide."""
        self.config["override"] = override_in(self.preview(check=False))

    def _stdout(self, *arguments: str) -> str:
        with spending(ENGINE):
            return subprocess.run(
                self.command(*arguments),
                cwd=self.directory,
                env=self._environ(),
                stdout=subprocess.PIPE,
                text=True,
                timeout=60,
                check=True,
            ).stdout

    def begin_up(self) -> "Background":
        """Starts `pulumi up`; somebody has to wait for it or kill it."""
        self.write_config()
        return Background(self)

    def up_killed_when(self, seen: Callable[[], bool], *, within: float = 120) -> None:
        """Starts `pulumi up` and ends it with SIGKILL, engine, plugins and program together, as soon as `seen()`.

        Raises AssertionError when the run ends by itself first.
        """
        running = self.begin_up()
        try:
            running.until(seen, within)
        finally:
            running.kill()

    def up_killed_after(self, seconds: float) -> int | None:
        """The same after some seconds. The run's exit code when it ended by itself before, None when it was killed."""
        running = self.begin_up()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and running.code is None:
                time.sleep(0.02)
            return running.code
        finally:
            running.kill()


class Background:
    """`pulumi up` that runs while a test does something else.

    Args:
        stack: whose.
    """

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
        """What it has said so far."""
        return self._stack.log.read_text()

    def until(self, seen: Callable[[], bool], within: float = 120) -> None:
        """Waits until `seen()`. Raises AssertionError when the run ends first, or that takes too long."""
        deadline = time.monotonic() + within
        with spending(ENGINE, 0):
            while not seen():
                assert self.code is None, f"the run ended before the moment came:\n{self.text}"
                assert time.monotonic() < deadline, f"the moment did not come:\n{self.text}"
                time.sleep(0.02)

    def until_said(self, text: str, within: float = 120) -> None:
        """Waits until the run has said `text`. Raises AssertionError like `until`."""
        self.until(lambda: text in self.text, within)

    def wait(self, timeout: float = UP_SECONDS) -> Run:
        """Waits for its end. Raises subprocess.TimeoutExpired when it does not come."""
        with spending(ENGINE, 0):
            code = self._process.wait(timeout)
        return Run(code, self.text, time.monotonic() - self._start)

    def interrupt(self) -> None:
        """What Ctrl-C in its terminal does: SIGINT to its process group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Ends engine, plugins and program with SIGKILL, if they have not ended."""
        if self.code is None:
            # The engine first: a search through all processes takes longer than some of its steps.
            self._process.kill()
            for process in processes_of(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._process.wait(30)
            # An engine that was killed could not unlock its state; its own message tells users to do this.
            self._stack.pulumi("cancel", "--yes", check=False)


def processes_of(leader: int) -> list[int]:
    """The processes of a session: the engine gives some of its plugins process groups of their own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(stat.parent.name))
    return found


class Stacks:
    """Makes stacks; their states lie together in one folder of the session."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environ = environment(directory / "engine")
        self._count = 0

    def new(self, found: Sequence[Machine], /, *, like: Stack | None = None, **config: Any) -> Stack:
        """A stack for these machines, not yet up. `config` adds to or replaces keys; None takes a key away.

        With `like` it is as far as that stack was, whose machines and configuration these are.
        """
        settings = {
            "platform": "hosts",
            "clusterName": "test",
            "releaseMirror": "http://releases.lab",
            "machines": [machine_config(machine) for machine in found],
            **config,
        }
        settings = {key: value for key, value in settings.items() if value is not None}
        names = ("Pulumi.yaml", "__main__.py", "components", "stacks", ".venv", "requirements.txt")
        return self.of_project("external-etcd", {name: REPO / name for name in names}, settings, like)

    def of_project(
        self, project: str, files: Mapping[str, Path], config: Mapping[str, Any], like: Stack | None = None
    ) -> Stack:
        """A stack of another project: its files (name -> where they are) and its configuration."""
        self._count += 1
        # A name that is no word of anything else in a state.
        return Stack(self._directory / f"test{self._count}", self._environ, config, files, project, like=like)


def machine_config(machine: Machine, **ssh: Any) -> dict[str, Any]:
    """The entry of `machines` in the configuration for a machine of the lab."""
    login = {
        "host": machine.address,
        "user": "operator",
        "privateKeyFile": str(machine.key_file),
        "hostKey": machine.host_key,
    }
    return {"name": machine.name, "address": machine.address, "ssh": {**login, **ssh}}


@pytest.fixture(scope="session")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stacks]:
    """Stacks under the real engine."""
    yield Stacks(tmp_path_factory.mktemp("stacks"))
