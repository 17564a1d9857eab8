"""The program of the last released version creates a stack, and this one takes it over: real inputs, keys and outputs.

`make test` proves the same with the record of what each released version registers. This needs the version's tag in the
clone. Before the first release, the last commit takes its place.
"""

from pathlib import Path

import pytest

from lab.engine import environment
from tests.components.test_upgrades_between_releases import CONFIGURATIONS, PRIVATE_KEY, RELEASED, previewed
from tests.support import pretended, released
from tests.support.cloud_stacks import FILES
from tests.support.stacks import REPO, Stack
from tools.release.source import unpack

PROGRAM = ("Pulumi.yaml", "__main__.py", "components", "stacks")


@pytest.mark.soak
def test_a_stack_of_the_last_released_program_is_taken_over(tmp_path: Path) -> None:
    """No machines: the stand-in for the plugin `command` answers."""
    last = f"v{RELEASED[0]}" if RELEASED else "HEAD"
    unpack(REPO, last, tmp_path / "old")
    files = {**FILES, **{name: tmp_path / "old" / name for name in PROGRAM}}
    config = {**CONFIGURATIONS["hosts"], "sshPrivateKey": PRIVATE_KEY}
    stack = Stack(tmp_path / "released", environment(tmp_path / "engine"), config, files, released.PROJECT)
    stack.environ["PATH"] = f"{pretended.PATH}:{stack.environ['PATH']}"
    stack.up()
    for name in PROGRAM:
        (stack.directory / name).unlink()
        (stack.directory / name).symlink_to(REPO / name)
    found, counts = previewed(stack)
    assert found == []
    assert counts["same"] > len(stack.export()["deployment"]["resources"]) / 2
    stack.up()
    assert previewed(stack)[1].keys() <= {"same", "read"}
