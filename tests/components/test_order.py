"""What each resource waits for. The engine derives creation, replacement and, in reverse, destroy from it.

Inputs of commands do not name the resources that they come from (`components.dependencies`).
"""

from typing import Any

import pulumi
import pytest

from components import EtcdCluster, machine_commands, member, pki
from tests.support.cloud_stacks import SLOTS
from tests.support.recording import Recorder, Registration, record

from .test_cloud_registrations import AWS, CLOUDS, Cloud, built
from .test_cluster_registrations import machines

COMMAND, CERTIFICATE = "command:remote:Command", "tls:index/locallySignedCert:LocallySignedCert"
CA = "tls:index/selfSignedCert:SelfSignedCert"
ROUTE, RULE = "aws:ec2/route:Route", "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"


def direct(each: Registration) -> set[str]:
    """What it names, and its component: type and name."""
    urns = [urn.split("::") for urn in [*each.request.dependencies, each.request.parent] if urn]
    return {f"{type_.rpartition('$')[2]} {name}" for *_, type_, name in urns if type_ != "pulumi:pulumi:Stack"}


def order(recorder: Recorder) -> dict[str, set[str]]:
    """Resource -> all that is created before it and deleted after it. Fails for a cycle: then one name is not there."""
    found: dict[str, set[str]] = {}
    for each in recorder.registrations:
        found[f"{each.type} {each.name}"] = direct(each).union(*(found[name] for name in direct(each)))
    return found


def recorded(cloud: Cloud, *, options: bool) -> Recorder:
    loaded = cloud.wanted(**({**cloud.on_volumes, **cloud.private} if options else {}))
    return record(lambda: built(loaded), preview=False)


OPTIONS = pytest.mark.parametrize("options", [False, True], ids=["plain", "private-volumes"])
ON_CLOUDS = pytest.mark.parametrize("cloud", CLOUDS, ids=[cloud.name for cloud in CLOUDS])


@OPTIONS
@ON_CLOUDS
def test_what_a_resource_does_not_name_follows_from_what_it_names(
    cloud: Cloud, options: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lean = order(recorded(cloud, options=options))
    for module in (machine_commands, member, pki):
        monkeypatch.setattr(module, "without_dependencies", pulumi.Output.from_input)
    # The IDs of changes, and a certificate that is on no machine: nothing happens when they are deleted.
    idle = {f"pulumi:index:Stash {cloud.name}-{what}" for what in ("change", "machines")}
    idle.add(f"{CERTIFICATE} {cloud.name}-pki-apiserver-etcd-client")
    unnamed = 0
    for each in recorded(cloud, options=options).registrations:
        this = f"{each.type} {each.name}"
        assert direct(each) - idle <= lean[this], this
        unnamed += bool(direct(each) & idle)
    assert unnamed >= len(SLOTS), "with all names, members name the ID of the change"


@OPTIONS
@ON_CLOUDS
def test_machines_and_ways_are_there_first_and_are_deleted_last(cloud: Cloud, options: bool) -> None:
    found = order(recorded(cloud, options=options))
    prepared = {f"{COMMAND} {cloud.name}-{slot}-prepare" for slot in SLOTS}
    bootstrapped = {f"{COMMAND} {cloud.name}-{slot}-bootstrap" for slot in SLOTS}
    converged = [f"{COMMAND} {cloud.name}-{slot}-converge" for slot in SLOTS]
    for index, slot in enumerate(SLOTS):
        name = f"{cloud.name}-{slot}"
        needed = {f"{cloud.server} {name}", f"{COMMAND} {name}-ssh", f"command:remote:CopyToRemote {name}-program"}
        needed |= {f"pulumi:index:Stash {cloud.name}-bootstrap", f"{CA} {cloud.name}-pki-1-ca"}
        if options:
            needed |= {f"{cloud.attachment} {name}", f"{cloud.volume} {name}"}
            needed |= {f"{cloud.server} {cloud.name}-bastion", f"{COMMAND} {cloud.name}-bastion-ssh"}
        if cloud is AWS:
            needed |= {f"{ROUTE} aws", f"{RULE} aws-peers"}
        assert needed <= found[f"{COMMAND} {name}-prepare"]
        certificates = {f"{CERTIFICATE} {name.replace('etcd', 'pki-etcd')}-{kind}" for kind in ("server", "peer")}
        certificates.add(f"{CERTIFICATE} {cloud.name}-pki-healthcheck-client")
        assert prepared <= found[f"{COMMAND} {name}-bootstrap"]
        assert certificates.union(bootstrapped, converged[:index]) <= found[converged[index]]
    assert set(converged) <= found[f"{COMMAND} {cloud.name}-health"]


@pytest.mark.parametrize("sftp", [None, True, False])
def test_a_users_own_machine_is_deleted_after_it_was_retired(sftp: bool | None) -> None:
    """Its address is known before it exists, so only its `identity` says that it must exist."""

    def program() -> EtcdCluster:
        own: Any = machines()
        for each in own:
            server = pulumi.CustomResource("own:index:Server", f"own-{each['name']}", {"name": each["name"]})
            each["identity"] = server.id
            each["ssh"] = each["ssh"] if sftp is None else {**each["ssh"], "sftp": sftp}
        return EtcdCluster("dev", {"members": own})

    found = order(record(program, preview=False))
    for name in "abc":
        assert f"own:index:Server own-{name}" in found[f"{COMMAND} dev-{name}-prepare"]
