"""Starts a plugin's process with as few imports as possible; then prints the port on stdout."""

import contextlib
import gc
import importlib.util
import os
import sys
import threading
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import Plugin


class _Unused(types.ModuleType):
    """A module of which only the names are needed, in classes and annotations that are never used here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


@contextlib.contextmanager
def unused(*names: str) -> Iterator[None]:
    """Replace these modules by empty ones, for imports that want them but do not need them here."""
    before = {name: sys.modules.get(name, None) for name in names}
    sys.modules |= {name: module or _Unused(name) for name, module in before.items()}
    yield
    for name, module in before.items():
        if module is None:
            del sys.modules[name]


def import_lightly() -> None:
    """Import gRPC and the SDK's protocol modules, without their dependencies that no plugin needs.

    Every engine run pays for these imports at least twice. Only for a process that is a plugin: `import pulumi` fails
    afterwards.
    """
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"pulumi is not installed for {sys.executable}; install requirements.txt there and try again")
    folder = spec.submodule_search_locations[0]
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        # The SDK itself would take half a second.
        package = types.ModuleType(name)
        package.__path__ = [folder + name.removeprefix("pulumi").replace(".", "/")]
        sys.modules[name] = package
    names = ["asyncio", "grpc.aio", "grpc.aio._metadata"]
    if importlib.util.find_spec("google._upb") is not None:
        # protobuf's pure Python implementation, unused if the C one exists.
        names.append("google.protobuf.internal.python_message")
    with unused(*names):
        from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc, status_pb2  # noqa: F401, PLC0415


def plugin(name: str) -> "Plugin":
    """The stand-in with that name. Raises SystemExit if there is none."""
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
        raise SystemExit(f"there is no stand-in {name!r}; there are aws, command, hcloud and tls")
    return plugin


def main() -> None:
    """Serve the plugin that the first argument names until the engine (the parent process) ends.

    The optional second argument is the address of the engine.
    """
    gc.disable()  # Imports create almost no garbage.
    import_lightly()
    from .server import serve  # noqa: PLC0415 (after import_lightly on purpose)

    engine = next((argument for argument in sys.argv[2:] if not argument.startswith("-")), "")
    parent = os.getppid()
    _server, port = serve(plugin(sys.argv[1]), engine)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    gc.freeze()
    gc.enable()
    # A killed engine cannot end its plugins, and a plugin must not outlive it.
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(1.0)
    os._exit(0)
