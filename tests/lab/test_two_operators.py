"""Two checkouts with separate states change the same cluster: one at a time, and without endless waits."""

import getpass
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from lab import Machine
from tests.support.etcd import assert_serves_all_members, command_line, etcdctl, process_ids
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Run, Stack, Stacks
from tests.support.waiting import every

KEY = "external-etcd/operator"


def _together(*stacks: Stack) -> list[Run]:
    """Run `pulumi up` of all of them at once."""
    runs: list[Run | None] = [None] * len(stacks)

    def up(number: int) -> None:
        runs[number] = stacks[number].up(check=False)

    threads = [threading.Thread(target=up, args=(number,)) for number in range(len(stacks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [run for run in runs if run is not None]


def _says_who_and_since_when(run: Run) -> bool:
    said = f"another operator is changing this cluster: {re.escape(getpass.getuser())}@"
    return re.search(rf"{said}\S+ \(operator [0-9a-f]{{16}}\) since 20\d\d-\d\d-\d\dT[0-9:]+Z", run.text) is not None


def _flags(machines: Sequence[Machine], flag: str) -> set[str]:
    """The values of a flag in the running processes."""
    lines = [command_line(machine).splitlines() for machine in machines]
    return {"\n".join(word for word in words if word.startswith(f"--{flag}=")) for words in lines}


def test_one_of_two_operators_is_refused_and_old_claims_expire(
    machines: Machines, stacks: Stacks, tmp_path: Path, own_authority: dict[str, str]
) -> None:
    # Only a user's own CA can be in two states.
    ours = {"name": "1", "certificate": own_authority["certificate"], "privateKey": own_authority["private_key"]}
    found = machines.fresh(3)
    one, two = stacks.new(found, authorities=[ours]), stacks.new(found, authorities=[ours])
    one.up()
    two.up()  # so that both runs below do the same steps
    with probing(one, found, tmp_path, "Two operators") as probe:
        # Both at once.
        one.config["flags"], two.config["flags"] = {"max-txn-ops": "256"}, {"max-txn-ops": "512"}
        probe.mark("two at once")
        runs = _together(one, two)
        assert sorted(run.code == 0 for run in runs) == [False, True], "\n".join(run.text for run in runs)
        winner, loser = (one, two) if runs[0].code == 0 else (two, one)
        refused = runs[1] if winner is one else runs[0]
        assert _says_who_and_since_when(refused), refused.text
        assert _flags(found, "max-txn-ops") == {f"--max-txn-ops={winner.config['flags']['max-txn-ops']}"}
        assert etcdctl(found[0], "get", KEY, "--print-value-only") == "", "a complete change leaves no claim"

        # Interrupted in the middle: the same operator continues at once, the other one must wait.
        probe.mark("interrupted")
        before = process_ids(found[:1])
        loser.config["flags"] = {"max-txn-ops": "1024"}
        loser.up_killed_when(lambda: process_ids(found[:1]) != before)
        claim = json.loads(etcdctl(found[2], "get", KEY, "--write-out=json"))["kvs"][0]
        left = json.loads(etcdctl(found[2], "lease", "timetolive", f"{claim['lease']:x}", "--write-out=json"))
        assert 0 < left["ttl"] <= 240
        assert "is changing this cluster, or was interrupted" in found[2].run("etcd-node status", root=True).stdout
        assert "etcd_node_claim_held_since_timestamp_seconds{" in found[2].run("etcd-node metrics", root=True).stdout
        probe.mark("another one")
        files = _certificates(found)
        winner.config["flags"] = {"max-txn-ops": "2048"}
        run = winner.up(check=False)
        assert run.code != 0
        assert _says_who_and_since_when(run), run.text
        assert _certificates(found) == files, "nothing was written"
        probe.mark("goes on")
        loser.up()
        assert _flags(found, "max-txn-ops") == {"--max-txn-ops=1024"}

        # The claim of an operator that never comes back.
        value = json.dumps({"operator": "0123456789abcdef", "by": "a@b", "since": "2026-01-01T00:00:00Z"})

        def leave_behind(seconds: int) -> None:
            lease = json.loads(etcdctl(found[0], "lease", "grant", str(seconds), "--write-out=json"))["ID"]
            etcdctl(found[0], "put", KEY, value, f"--lease={lease:x}")

        leave_behind(240)
        probe.mark("left behind")
        run = winner.up(check=False)
        assert run.code != 0
        assert "a@b (operator 0123456789abcdef) since 2026-01-01T00:00:00Z" in run.text
        assert "expires by itself" in run.text
        leave_behind(2)
        assert any(not etcdctl(found[0], "get", KEY, "--print-value-only") for _ in every(0.5, seconds=60))
        probe.mark("lapsed")
        winner.up()
    assert_serves_all_members(found)
    winner.up("--expect-no-changes")


def _certificates(machines: Sequence[Machine]) -> list[str]:
    return [machine.run("cat /etc/etcd/pki/*.crt | sha256sum", root=True).stdout for machine in machines]
