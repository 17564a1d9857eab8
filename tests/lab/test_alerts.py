"""Alerts fire when what they are about is done to real members, and clear afterwards."""

from tests.support.alerting import watching
from tests.support.bootstrapped import Bootstrapped


def test_alerts_of_members_that_are_down_fire_and_clear(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    stack.config["prometheus"] = True
    stack.up()
    with watching(stack, speed=300) as alerts:
        alerts.fires()
        found[0].run("systemctl stop etcd", root=True)
        alerts.fires("etcdMembersDown", "etcdQuorumAtRisk")
        found[1].run("systemctl stop etcd", root=True)
        alerts.fires("etcdMembersDown", "etcdInsufficientMembers", "etcdNoLeader")
        for machine in found[:2]:
            machine.run("systemctl start --no-block etcd", root=True)
        alerts.fires()
