"""The start of a plugin's process: as few imports as possible, then one line with the port on stdout."""

import contextlib
import gc
import importlib.util
import os
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any


class _Unused(types.ModuleType):
    """A module of which another one only wants the names, for classes and annotations of what is not used here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


@contextlib.contextmanager
def unused(*names: str) -> Iterator[None]:
    """Inside, these modules are empty ones: what is imported there wants them, and does not need them here."""
    before = {name: sys.modules.get(name, None) for name in names}
    sys.modules |= {name: module or _Unused(name) for name, module in before.items()}
    yield
    for name, module in before.items():
        if module is None:
            del sys.modules[name]


def import_lightly() -> None:
    """Import gRPC and the SDK's protocol modules, without what comes along with them and serves no plugin.

    Every engine run pays for this twice and more. Only for a process that is a plugin: `import pulumi` does not work
    afterwards.
    """
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"pulumi is not installed for {sys.executable}: install requirements.txt there and try again")
    folder = spec.submodule_search_locations[0]
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        # The SDK itself would take half a second.
        package = types.ModuleType(name)
        package.__path__ = [folder + name.removeprefix("pulumi").replace(".", "/")]
        sys.modules[name] = package
    names = ["asyncio", "grpc.aio", "grpc.aio._metadata"]
    if importlib.util.find_spec("google._upb") is not None:
        # The messages in Python, for where there are none in C.
        names.append("google.protobuf.internal.python_message")
    with unused(*names):
        from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc, status_pb2  # noqa: F401, PLC0415


def main() -> None:
    """Serve the plugin named by the first argument until the engine (the parent process) has gone.

    The second argument, where there is one, is the address of the engine.
    """
    gc.disable()  # Next to nothing of what is imported is garbage.
    import_lightly()
    from .server import Plugin, serve  # noqa: PLC0415 (after import_lightly on purpose)

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
    gc.freeze()
    gc.enable()
    # An engine that is killed cannot say goodbye, and a plugin must not outlive it.
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(1.0)
    os._exit(0)
