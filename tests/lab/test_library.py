"""The example program imports external_etcd from the installed wheel, with the real engine and real machines."""

from pathlib import Path

import pytest

from lab import Machine
from tests.support.etcd import assert_serves_all_members, process_ids, served
from tests.support.machines import Machines
from tests.support.stacks import REPO, Stack, Stacks
from tests.support.wheel import installed_wheel

EXAMPLE = REPO / "examples" / "library"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel."""
    return installed_wheel(tmp_path_factory.mktemp("wheel")).parent.parent


def library_stack(stacks: Stacks, environment: Path, found: list[Machine], **cluster: object) -> Stack:
    """A stack of the example; `cluster` adds to the component's arguments."""
    return stacks.of_project(
        "etcd-in-my-own-program",
        {"Pulumi.yaml": EXAMPLE / "Pulumi.yaml", "__main__.py": EXAMPLE / "__main__.py", ".venv": environment},
        {
            "machines": [{"name": m.name, "address": m.address, "host_key": m.host_key} for m in found],
            "ssh_user": "operator",
            "ssh_key": found[0].key_file.read_text(),
            "cluster": {"release_mirror": "http://releases.lab", **cluster},
        },
    )


def test_another_project_can_use_the_installed_wheel(machines: Machines, stacks: Stacks, environment: Path) -> None:
    found = machines.fresh(3)
    stack = library_stack(stacks, environment, found)
    stack.up()
    assert_serves_all_members(found)
    stack.up("--expect-no-changes")

    stack.config["cluster"] |= {"authorities": [{"name": "2"}]}
    refused = stack.preview(check=False)
    assert refused.code != 0
    assert "1. authorities: 1, 2\n" in refused.text
    assert "Traceback" not in refused.text


def test_due_certificates_are_renewed_without_a_restart(machines: Machines, stacks: Stacks, environment: Path) -> None:
    found = machines.fresh(3)
    # Valid for one hour and renewed during the last hour: always due. (The program's own configuration refuses that;
    # the component accepts it.)
    lifetimes = {"validity_hours": 1, "early_renewal_hours": 1}
    stack = library_stack(stacks, environment, found, certificates=lifetimes)
    stack.up()
    processes = process_ids(found)
    before = {(m.name, port): served(m, port) for m in found for port in (2379, 2380)}

    preview = stack.preview("--diff")
    stack.up()

    after = {(m.name, port): served(m, port) for m in found for port in (2379, 2380)}
    assert "LocallySignedCert: (replace)" in preview.text
    assert all(before[key] != after[key] for key in before), (before, after)
    assert process_ids(found) == processes
    assert_serves_all_members(found)
