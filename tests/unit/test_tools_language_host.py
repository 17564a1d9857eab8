"""The built Python language host is changed so that it starts plugins and policy packs of newer CLIs."""

from __future__ import annotations

import pytest

from tools.base import ToolError
from tools.language_host import changed

SOURCE = """package main

import (
	"bytes"
)

func run(req *pulumirpc.RunPluginRequest) []string {
	args := []string{req.Program}
	return args
}
"""


def test_the_host_looks_for_the_folder_where_newer_clis_name_it() -> None:
    source = changed(SOURCE)
    assert 'args := []string{"-u", pluginFolder(req)}' in source
    assert source.count('"google.golang.org/protobuf/encoding/protowire"\n\t"bytes"') == 1
    assert source.index("func pluginFolder(") > source.index("func run(")


@pytest.mark.parametrize("source", ["", SOURCE.replace("req.Program}", "program}"), SOURCE + SOURCE])
def test_another_source_is_not_changed(source: str) -> None:
    with pytest.raises(ToolError, match=r"main\.go has not exactly one"):
        changed(source)
