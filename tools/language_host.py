"""The Python language host, built from its Go module, which is older than the CLI that it is built for."""

from __future__ import annotations

from pathlib import Path

from tools.base import ToolError
from tools.gobuild import build_changed, module_source

NAME = "pulumi-language-python"
_SDK = "github.com/pulumi/pulumi/sdk/v3"

# Newer CLIs name the folder of a plugin or policy pack only in a field that this host does not know. They also expect
# its first output, the port, at once, hence -u.
_CHANGES = {
    "\nimport (\n": '\nimport (\n\t"google.golang.org/protobuf/encoding/protowire"\n',
    "args := []string{req.Program}": 'args := []string{"-u", pluginFolder(req)}',
}
_ADDED = """
func pluginFolder(req *pulumirpc.RunPluginRequest) string {
	if req.Program != "" {
		return req.Program
	}
	// RunPluginRequest.info.program_directory
	return string(field(field(req.ProtoReflect().GetUnknown(), 5), 2))
}

func field(message []byte, wanted protowire.Number) []byte {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeField(message)
		if size < 0 {
			return nil
		}
		if number == wanted && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(message)
			value, _ := protowire.ConsumeBytes(message[tag:])
			return value
		}
		message = message[size:]
	}
	return nil
}
"""


def changed(source: str) -> str:
    """Return the source of the host's main.go with support for plugins and policy packs of newer CLIs.

    Raises:
        ToolError: it is not the source that the change was written for.
    """
    for before, after in _CHANGES.items():
        if source.count(before) != 1:
            raise ToolError(f"{NAME}: main.go has not exactly one {before.strip()!r}, so it cannot be changed")
        source = source.replace(before, after)
    return source + _ADDED


def build_host(what: str, folder: Path) -> Path:
    """Build the host into `folder`; returns the folder of the SDK's source for Python.

    Raises:
        ToolError: as from `build_changed`, or from `changed`.
    """
    source = module_source(NAME, _SDK) / "python"
    main = (source / "cmd" / NAME / "main.go").read_text()
    build_changed(what, NAME, {"main.go": changed(main)}, folder / NAME)
    return source
