"""The start of a plugin's process: as few imports as possible, then one line with the port on stdout."""

import importlib.util
import os
import sys
import threading
import types


def skip_the_sdk() -> None:
    """Make the SDK's protocol modules importable without running the SDK itself, which would cost half a second.

    Only for a process that is a plugin: `import pulumi` does not work afterwards.
    """
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"pulumi is not installed for {sys.executable}: install requirements.txt there and try again")
    folder = spec.submodule_search_locations[0]
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        package = types.ModuleType(name)
        package.__path__ = [folder + name.removeprefix("pulumi").replace(".", "/")]
        sys.modules[name] = package


def main() -> None:
    """Serve the plugin named by the first argument until the engine (the parent process) has gone.

    The second argument, where there is one, is the address of the engine.
    """
    skip_the_sdk()
    from .server import Plugin, serve  # noqa: PLC0415 (after skip_the_sdk on purpose)

    name = sys.argv[1]
    plugin: Plugin
    if name == "command":
        from .command import plugin  # noqa: PLC0415
    elif name == "tls":
        from .tls import plugin  # noqa: PLC0415
    elif name == "aws":
        from .aws import make_plugin as make_aws  # noqa: PLC0415

        plugin = make_aws()
    elif name == "hcloud":
        from .hcloud import make_plugin  # noqa: PLC0415

        plugin = make_plugin()
    else:
        raise SystemExit(f"there is no stand-in called {name!r}: there are aws, command, hcloud and tls")
    engine = next((argument for argument in sys.argv[2:] if not argument.startswith("-")), "")
    parent = os.getppid()
    _server, port = serve(plugin, engine)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # An engine that is killed cannot say goodbye, and a plugin must not outlive it.
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(1.0)
    os._exit(0)
