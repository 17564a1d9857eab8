"""After too long without `pulumi up`, every certificate has expired, and the members have restarted since."""

import datetime

from lab import Machine
from tests.support.authority import OwnAuthority
from tests.support.etcd import PKI, assert_serves_all_members
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual
from tests.support.stacks import Stacks


def _expire(found: list[Machine], authority: OwnAuthority) -> None:
    """Install expired certificates in place of the members' own, and restart etcd as after a power cut."""
    for machine in found:
        for kind in ("server", "peer", "healthcheck-client"):
            certificate, key = authority.issue(kind, [machine.name], [machine.address], datetime.timedelta(days=-1))
            for suffix, text in (("crt", certificate), ("key", key)):
                machine.run(f"cat >{PKI}/{kind}.{suffix}", input=text, root=True)
    for machine in found:
        machine.run(
            "old=$(systemctl show -P MainPID etcd); kill -KILL $old; while test -d /proc/$old; do sleep 0.05; done; "
            "systemctl start --no-block etcd; until ss -ltn | grep -q ':2380 '; do sleep 0.1; done",
            root=True,
        )


def test_one_update_replaces_all_expired_certificates_without_a_quorum(machines: Machines, stacks: Stacks) -> None:
    found, authority = machines.fresh(3), OwnAuthority()
    own = {"name": "own", "certificate": authority.certificate, "privateKey": authority.private_key}
    stack = stacks.new(found, authorities=[own])
    stack.up()
    _expire(found, authority)

    # All certificates are reissued, as in the renewal window.
    stack.config["certificates"] = {"validityHours": 4000}
    assert_as_in_the_manual(stack, "Certificates that have expired")
    run = stack.up()
    print(f"{run.seconds:.1f} s")

    assert f"{found[0].name}: the certificates of {found[1].name}, {found[2].name} have expired" in run.text
    assert_serves_all_members(found)
