"""A member that does not start with a new setting gets its old one back; no other member is touched."""

from pathlib import Path

from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, process_ids
from tests.support.machines import Machines
from tests.support.prober import probing
from tests.support.stacks import Stacks


def test_a_value_that_etcd_rejects_is_rolled_back_on_the_first_member(
    bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    before = process_ids(found)
    with probing(stack, found, tmp_path, "A setting that etcd does not take") as probe:
        # Only etcd checks the content of a file.
        stack.config["flags"] = {"auth-token": "jwt,pub-key=/etc/hostname,sign-method=ES256"}
        probe.mark("pulumi up")
        failed = stack.up(check=False)
        probe.mark("failed")
        assert failed.code != 0
        assert (
            "etcd-1: etcd with the new settings did not start, and this member runs with its previous settings"
            in failed.text
        )
        assert "auth-token" in failed.text
        assert_serves_all_members(found)
        after = process_ids(found)
        assert {name for name in after if after[name] != before[name]} == {"etcd-1"}

        del stack.config["flags"]
        stack.up()
    assert process_ids(found) == after


def test_foreign_flags_and_environment_variables_are_named(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(1)
    stack = stacks.new(found)
    stack.up()
    drop_in = "/etc/systemd/system/etcd.service.d"
    override = (
        "sed -n '/^ExecStart=/,/BOOTSTRAP_FLAGS$/p' ../etcd.service | sed 's/BOOTSTRAP_FLAGS$/& --log-level=warn/'"
    )
    found[0].run(
        f"mkdir {drop_in} && cd {drop_in} && (printf '[Service]\\nExecStart=\\n'; {override}) >mine.conf && "
        "systemctl daemon-reload",
        root=True,
    )
    stack.config["flags"] = {"max-txn-ops": "256"}
    failed = stack.up(check=False)
    assert failed.code != 0
    assert failed.text.count("etcd-1: is back") == failed.text.count("etcd-1: restarts for") > 0
    assert "its running settings still differ from the desired ones (--log-level, --max-txn-ops)" in failed.text
    starts = "journalctl -u etcd -o cat | grep -c '^Started etcd'"
    assert found[0].run(starts, root=True).stdout.strip() == "2", "the bootstrap, and one restart"

    # Etcd also reads its environment.
    variable = 'printf \'[Service]\\nEnvironment="A=b" "ETCD_MAX_REQUEST_BYTES=1"\\n\''
    found[0].run(f"cd {drop_in} && {variable} >mine.conf && systemctl daemon-reload", root=True)
    failed = stack.up(check=False)
    assert failed.code != 0
    assert f"ETCD_MAX_REQUEST_BYTES ({drop_in}/mine.conf)" in failed.text
    assert found[0].run(starts, root=True).stdout.strip() == "2"

    found[0].run(f"rm -r {drop_in}", root=True)
    stack.up()
