"""A YAML program creates a cluster with its machines on an emulated cloud, by one component."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.aws_stacks import AwsStacks
from tests.support.cloud_stacks import SLOTS, UP_SECONDS, members, unhealthy
from tests.support.languages import Languages, change
from tests.support.stacks import Stack, Stacks

ON_AWS = pytest.mark.parametrize("stacks", ["aws"], indirect=True)


@pytest.fixture
def program(stacks: AwsStacks, tmp_path: Path) -> Callable[..., Stack]:
    """The example for AWS with these slots, adapted to the emulated cloud."""

    def made(*slots: str) -> Stack:
        config = {"aws:region": "eu-central-1", "operators": [f"{stacks.cloud.public[1]}/32"]}
        stack = Languages(tmp_path / "languages").stack(Stacks(tmp_path / "stacks"), "yaml-aws", config)
        stack.environ |= stacks.cloud.environment()
        change(stack, "volume: { size: 20 }", "volume: { size: 20, protect: false }")
        # All machines share one disk.
        here = "acknowledge: [slow-disk]\n      releaseMirror: http://releases.lab\n      previousOutput:"
        change(stack, "previousOutput:", here)
        for slot in {*SLOTS} - {*slots}:
            change(stack, f"        - {{ name: {slot}, generation: 1 }}\n", "")
        return stack

    return made


@ON_AWS
def test_a_yaml_program_creates_what_no_option_replaces_and_destroys_it(
    stacks: AwsStacks, program: Callable[..., Stack]
) -> None:
    stack = program("etcd-1")
    # The plugin has asked for the machine types, too.
    assert "could not be checked" not in stack.up(timeout=UP_SECONDS).text
    machine = stacks.cloud.machine("etcd-etcd-1")
    assert members(machine).keys() == {"etcd-1"}
    assert unhealthy(machine) == []
    # The hook that refuses is in the plugin.
    refused = stack.up("--replace", "**Volume::etcd-etcd-1", check=False)
    assert refused.code != 0
    assert "must not be replaced: the data of its member would be deleted" in refused.text, refused.text
    # The next update is still compared with the last successful one.
    assert stack.outputs()["applied"]["order"] == ["etcd-1"]
    assert stack.up("--expect-no-changes").code == 0
    stack.destroy()
    assert stacks.left() == []


@ON_AWS
@pytest.mark.soak
def test_a_yaml_program_replaces_a_machine_and_its_member_keeps_its_data(
    stacks: AwsStacks, program: Callable[..., Stack]
) -> None:
    stack = program(*SLOTS)
    stack.up(timeout=UP_SECONDS)
    old = stacks.cloud.machine("etcd-etcd-2").guest.init
    ids = members(stacks.cloud.machine("etcd-etcd-1"))
    change(stack, "etcd-2, generation: 1", "etcd-2, generation: 2")
    stack.up(timeout=UP_SECONDS)
    new = stacks.cloud.machine("etcd-etcd-2")
    assert new.guest.init != old
    assert members(new) == ids
    assert unhealthy(new) == []
    assert stack.up("--expect-no-changes").code == 0
    stack.destroy()
    assert stacks.left() == []
