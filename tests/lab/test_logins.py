"""Logins and machines as people have them: shells that print, a Python of another name, a program that is damaged."""

from tests.support.etcd import assert_serves_all_members, command_line, process_ids
from tests.support.machines import Machines
from tests.support.stacks import Stacks

_PRINTS = "sed -i '1i echo hello from bashrc; printf no-line' ~/.bashrc"
_EMPTY = "for file in $(find /usr/local/lib/etcd-node -name __main__.py); do : >$file; done"


def test_a_login_that_prints_and_a_python_of_another_name_are_no_matter_and_an_emptied_program_is_no_success(
    machines: Machines, stacks: Stacks
) -> None:
    found = machines.fresh(3)
    for machine in found:
        machine.run(_PRINTS)
    found[1].run("mv /usr/bin/python3 /usr/bin/python3.gone", root=True)
    stack = stacks.new(found)
    run = stack.up()
    assert "hello from bashrc" not in run.text
    assert [row["name"] for row in stack.outputs()["members"]] == [machine.name for machine in found]
    stack.up("--expect-no-changes")

    # As a power cut leaves it.
    before = process_ids(found)
    found[1].run(_EMPTY, root=True)
    stack.config["flags"] = {"max-txn-ops": "256"}
    run = stack.up(check=False)
    assert run.code != 0
    assert "etcd-2: what was run here ended without an answer" in run.text
    after = process_ids(found)
    assert [after[name] == before[name] for name in ("etcd-1", "etcd-2", "etcd-3")] == [False, True, True]
    assert "--max-txn-ops" not in command_line(found[1])
    assert_serves_all_members(found)
