"""Programs in YAML and TypeScript make and change the same cluster as a program in Python."""

import json
from typing import Any

import pytest

from lab import Machine
from tests.support.etcd import assert_serves_all_members, process_ids
from tests.support.languages import Languages
from tests.support.machines import Machines
from tests.support.stacks import Stacks


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Languages:
    return Languages(tmp_path_factory.mktemp("languages"))


def configuration(found: list[Machine]) -> dict[str, Any]:
    """The configuration of all examples; each reads the mirror in its own spelling."""
    return {
        "machines": [{"name": m.name, "address": m.address, "host_key": m.host_key} for m in found],
        "ssh_user": "operator",
        "ssh_key": found[0].key_file.read_text(),
        "release_mirror": "http://releases.lab",
        "cluster": {"release_mirror": "http://releases.lab"},
    }


def test_a_cluster_of_a_yaml_program_is_the_same_for_python_and_typescript(
    machines: Machines, stacks: Stacks, languages: Languages
) -> None:
    found = machines.fresh(3)
    config = configuration(found)
    yaml = languages.stack(stacks, "yaml", config)
    yaml.up()
    assert_serves_all_members(found)
    state = json.dumps(yaml.export())
    assert "PRIVATE KEY" not in state

    python = languages.stack(stacks, "python", config, yaml)
    python.up("--expect-no-changes")
    assert python.outputs() == yaml.outputs()

    running = process_ids(found)
    script = {**config, "cluster": {"releaseMirror": "http://releases.lab"}}
    typescript = languages.stack(stacks, "typescript", script, python)
    typescript.up("--expect-no-changes")
    assert process_ids(found) == running
    assert typescript.outputs() == python.outputs()

    typescript.config["cluster"] |= {"quota": "3GiB"}
    changed = typescript.up()
    assert "etcd-1 restarts" in changed.text
    assert_serves_all_members(found)
    assert {*process_ids(found).values()}.isdisjoint(running.values())
