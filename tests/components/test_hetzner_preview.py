"""The example of the platform hetzner under the real engine, before anything exists: what a preview says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.engine import environment
from tests.support.cloud_stacks import FILES
from tests.support.hetzner_stacks import EXAMPLE, KEY, raise_generation
from tests.support.snapshot import compare, taken
from tests.support.stacks import Stack


@pytest.fixture(scope="module")
def hetzner(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stack]:
    directory = tmp_path_factory.mktemp("stacks")
    environ = environment(directory / "engine")

    def new(name: str, **changes: Any) -> Stack:
        config = json.loads(json.dumps(EXAMPLE))
        config[KEY] |= changes
        # Nothing answers there: a preview of what does not exist asks nobody.
        config |= {"hcloud:token": "x" * 64, "hcloud:endpoint": "http://127.0.0.1:9/v1"}
        return Stack(directory / name, environ, config, FILES, "external-etcd")

    return new


def test_the_preview_of_the_example_is_the_reviewed_one(hetzner: Callable[..., Stack]) -> None:
    compare(taken(hetzner("example"), "hcloud"), "hetzner")


def test_the_preview_with_volumes_and_a_bastion_is_the_reviewed_one(hetzner: Callable[..., Stack]) -> None:
    stack = hetzner("private", publicIpv4=False, bastion={}, volume={"size": 10})
    compare(taken(stack, "hcloud"), "hetzner-private-volumes")


def test_a_preview_takes_the_names_of_machines_of_arm(hetzner: Callable[..., Stack]) -> None:
    found = taken(hetzner("arm", serverType="cax11"), "hcloud")
    kept = [inputs["input"] for urn, inputs in found.items() if urn.endswith("-generation-1")]
    assert [machine["server_type"] for machine in kept] == ["cax11"] * 3


def test_generations_are_compared_with_the_last_update_before_anything_else_happens(
    hetzner: Callable[..., Stack], tmp_path: Path
) -> None:
    stack = hetzner("raised")
    leave_outputs(stack, tmp_path, {"generations": {"etcd-1": 1, "etcd-2": 1, "etcd-3": 1}})
    raise_generation(stack, "etcd-1", "etcd-2")
    run = stack.preview(check=False)
    assert run.code != 0
    assert "hetzner.slots.etcd-2.generation: given etcd-1 from 1 to 2, etcd-2 from 1 to 2" in run.text
    assert "Raise that of etcd-1 alone, run pulumi up, then raise the next" in run.text
    assert "Traceback" not in run.text
    assert "HetznerNetwork" not in run.text
    raise_generation(stack, "etcd-1", "etcd-2", by=-1)
    raise_generation(stack, "etcd-2")
    assert stack.preview().code == 0


def leave_outputs(stack: Stack, directory: Path, outputs: dict[str, Any]) -> None:
    """Makes the state look as if an update had left these outputs."""
    state = {
        "version": 3,
        "deployment": {
            "manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""},
            "resources": [
                {
                    "urn": f"urn:pulumi:{stack.directory.name}::external-etcd::pulumi:pulumi:Stack::external-etcd-"
                    f"{stack.directory.name}",
                    "custom": False,
                    "type": "pulumi:pulumi:Stack",
                    "outputs": outputs,
                }
            ],
        },
    }
    file = directory / "state.json"
    file.write_text(json.dumps(state))
    stack.pulumi("stack", "import", "--file", str(file))
