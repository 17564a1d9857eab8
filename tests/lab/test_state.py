"""The state of a member is small, equal in every checkout, and without a copy of the program."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import bundle
from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, process_ids
from tests.support.stacks import REPO, Stack

# Without indentation, which adds a tenth in a file. More than a third of it is keys and certificates.
_MEMBER_BYTES, _COMMANDS_BYTES = 60_000, 39_500


def _bytes_of(state: Mapping[str, Any], member: str) -> dict[str, int]:
    """Name of each resource of a member -> its size in the state."""
    resources = [each for each in state["deployment"]["resources"] if f"-{member}" in each["urn"]]
    sizes: dict[str, int] = {}
    for each in resources:
        assert not each.keys() & {"stackTrace", "sourcePosition"}
        name = each["urn"].rpartition("::")[2]
        sizes[name] = sizes.get(name, 0) + len(json.dumps(each, separators=(",", ":")))
    return sizes


def _checkout(stack: Stack, place: Path) -> Path:
    """Move the stack's next runs to another checkout of the same program; returns its path."""
    for name in ("components", "stacks"):
        shutil.copytree(REPO / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        (stack.directory / name).unlink()
        (stack.directory / name).symlink_to(place / name)
    return place


def _left_in_homes(machines: list[Machine]) -> str:
    return "".join(machine.run("find ~ -name '.external-etcd*'").stdout for machine in machines)


def test_a_members_state_is_small_and_without_the_program(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    state = stack.export()
    for machine in found:
        sizes = _bytes_of(state, machine.name)
        print(machine.name, sum(sizes.values()), sizes)
        assert sum(sizes.values()) < _MEMBER_BYTES, sizes
        assert sum(size for name, size in sizes.items() if "-pki-" not in name) < _COMMANDS_BYTES, sizes
    assert bundle.program()[1000:1100] not in stack.pulumi("stack", "export", "--show-secrets").text
    assert _left_in_homes(found) == ""


def test_only_a_changed_or_lost_program_is_uploaded_again(bootstrapped: Bootstrapped, tmp_path: Path) -> None:
    found, stack = bootstrapped()
    ran = process_ids(found)
    checkout = _checkout(stack, tmp_path / "checkout")
    stack.preview("--expect-no-changes")

    with (checkout / "components" / "node" / "cli.py").open("a") as program:
        program.write("\n# another program\n")
    shown = stack.preview().text
    for machine in found:
        lines = [line for line in shown.splitlines() if f"-{machine.name}-program " in line]
        assert len(lines) == 1, shown
        assert "CopyToRemote" in lines[0]
        assert "[diff: ~source]" in lines[0]
    assert len(re.findall(r"[+-] source: asset\(file:[0-9a-f]+\)", stack.preview("--diff").text)) == 2 * len(found)
    # A shell that prints only now breaks a copy. The manual has this way on.
    found[2].run("sed -i '1i echo hello from bashrc' ~/.bashrc")
    refused = stack.up(check=False)
    assert refused.code != 0
    assert "packet too long" in refused.text, refused.text
    stack.up("--replace", "**-etcd-3-sftp")
    found[2].run("sed -i 1d ~/.bashrc")
    wrappers = {machine.run("cat /usr/local/sbin/etcd-node").stdout for machine in found}
    assert len(wrappers) == 1
    assert bundle.digest() not in wrappers.pop()
    assert _left_in_homes(found) == ""
    assert process_ids(found) == ran

    # Pulumi does not know that this machine has lost it. Prepare reports a remedy, which works as printed.
    found[1].run("rm -r /usr/local/lib/etcd-node /usr/local/sbin/etcd-node", root=True)
    stack.config["releaseMirror"] = "http://releases.lab:80"
    refused = stack.up(check=False)
    assert refused.code != 0
    remedy = re.search(r"etcd-2: etcd-node has not arrived whole.*: pulumi up --replace '(\S+)'", refused.text)
    assert remedy is not None, refused.text
    stack.up("--replace", remedy[1])
    assert process_ids(found) == ran
    assert_serves_all_members(found)
    stack.preview("--expect-no-changes")
