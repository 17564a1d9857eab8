"""A real Kubernetes control plane starts from the outputs and works through changes of its etcd.

The tests share a control plane, in this order; the last one destroys what it has stored.
"""

import datetime
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import yaml

from components.kubernetes import CA_FILE, CERTIFICATE_FILE, KEY_FILE
from lab import Machine, kubernetes
from tests.support.api_client import using
from tests.support.authority import OwnAuthority
from tests.support.etcd import assert_serves_all_members, command_line, etcdctl
from tests.support.machines import Machines
from tests.support.stacks import Stack, Stacks, machine_config

MEMBERS, LATER = 3, 5
OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: prices, namespace: shop}
data: {tea: "3"}
---
apiVersion: v1
kind: Secret
metadata: {name: till, namespace: shop}
stringData: {pin: "1234"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: counter, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: counter}}
  template:
    metadata: {labels: {app: counter}}
    spec: {containers: [{name: counter, image: none}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: teas.example.com}
spec:
  group: example.com
  names: {kind: Tea, plural: teas}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


@dataclass(frozen=True)
class Cluster:
    """etcd on the first machines, and control planes."""

    machines: list[Machine]
    stack: Stack
    authority: OwnAuthority
    planes: list[Machine]

    @property
    def kubeconfig(self) -> str:
        """The administrator's."""
        return self.planes[0].run(["cat", kubernetes.ADMIN], root=True).stdout


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> Iterator[Cluster]:
    found, authority = machines.fresh(LATER), OwnAuthority()
    own = {"name": "own", "certificate": authority.certificate, "privateKey": authority.private_key}
    stack = stacks.new(found[:MEMBERS], authorities=[own])
    stack.up()
    outputs = stack.outputs()
    try:
        names = ["control-1", "control-2"]
        planes = kubernetes.up(machines.lab, outputs["kubeadm"], outputs["kubeadm_script"], names)
        yield Cluster(found, stack, authority, planes)
    finally:
        kubernetes.down(machines.lab)


def kubectl(machine: Machine, *arguments: str, text: str | None = None) -> str:
    """Run kubectl as the administrator on a control plane."""
    command = ["kubectl", f"--kubeconfig={kubernetes.ADMIN}", "--request-timeout=20s", *arguments]
    return machine.run(command, root=True, input=text).stdout


def test_both_control_planes_are_ready_and_so_is_their_etcd(cluster: Cluster) -> None:
    for plane in cluster.planes:
        # The kubeconfig's address is the first one's.
        answer = kubectl(plane, f"--server=https://{plane.address}:6443", "get", "--raw=/readyz?verbose")
        for check in ("etcd", "etcd-readiness"):
            assert f"[+]{check} ok" in answer
        assert "readyz check passed" in answer
    nodes = kubectl(cluster.planes[0], "get", "nodes", "--output=name").split()
    assert nodes == [f"node/{plane.name}" for plane in cluster.planes]


def test_objects_of_several_kinds_are_created_listed_watched_and_stored_in_etcd(cluster: Cluster) -> None:
    first, second = cluster.planes
    watch = f"kubectl --kubeconfig={kubernetes.ADMIN} get configmaps -A --watch --output=name"
    first.run(f"systemd-run --unit=watch --property=StandardOutput=file:/run/watched {watch}", root=True)
    seen = "for n in $(seq 100); do grep configmap/{} /run/watched && exit; sleep 0.1; done; exit 1"
    try:
        # It begins with a list.
        first.run(seen.format("kubeadm-config"), root=True)
        kubectl(first, "apply", "--filename=-", text=OBJECTS)
        kubectl(first, "wait", "--for=condition=Established", "crd/teas.example.com", "--timeout=20s")
        tea = {"apiVersion": "example.com/v1", "kind": "Tea", "metadata": {"name": "green", "namespace": "shop"}}
        kubectl(first, "apply", "--filename=-", text=yaml.safe_dump(tea))
        kinds = "configmap/prices,secret/till,deployment/counter,tea/green"
        assert len(kubectl(second, "--namespace=shop", "get", *kinds.split(","), "--output=name").split()) == 4
        # The controller manager makes the pods.
        made = "until [ $(%s --namespace=shop get pods -o name | wc -l) = 2 ]; do sleep 0.2; done"
        second.run(made % f"kubectl --kubeconfig={kubernetes.ADMIN}", root=True)
        first.run(seen.format("prices"), root=True)
    finally:
        first.run("systemctl stop watch", root=True)
    keys = etcdctl(cluster.machines[0], "get", "/registry/", "--prefix", "--keys-only").split()
    stored = ["configmaps/shop/prices", "secrets/shop/till", "deployments/shop/counter", "example.com/teas/shop/green"]
    stored += [f"minions/{plane.name}" for plane in cluster.planes]
    assert {f"/registry/{key}" for key in stored} <= set(keys)
    assert len([key for key in keys if key.startswith("/registry/pods/shop/counter-")]) == 2


def test_kubeadm_names_the_reason_if_a_certificate_is_not_accepted(cluster: Cluster) -> None:
    plane, stranger = cluster.planes[0], OwnAuthority("stranger")
    outputs = cluster.stack.outputs()
    user = "kube-apiserver-etcd-client"
    pair = (CERTIFICATE_FILE, KEY_FILE)
    foreign = zip(pair, stranger.issue(user), strict=True)
    expired = zip(pair, cluster.authority.issue(user, life=datetime.timedelta(days=-1)), strict=True)
    cases = {
        # A client in Go sends no certificate of an issuer whom the member does not name.
        "foreign": (dict(foreign), "tls: certificate required"),
        "expired": (dict(expired), "tls: expired certificate"),
        "wrong-ca": ({CA_FILE: stranger.certificate}, "certificate signed by unknown authority"),
    }

    def said(name: str) -> str:
        """What kubeadm's checks say with these files instead."""
        configuration = plane.run(["cat", kubernetes.CONFIGURATION], root=True).stdout
        # It asks each endpoint four times.
        configuration = configuration.replace("".join(f'      - "{url}"\n' for url in outputs["endpoints"][1:]), "")
        for path, content in {**outputs["kubeadm_files"], **cases[name][0]}.items():
            kubernetes.write(plane, f"/run/{name}{path}", content)
            configuration = configuration.replace(path, f"/run/{name}{path}")
        kubernetes.write(plane, f"/run/{name}.yaml", configuration)
        command = ["kubeadm", "init", "phase", "preflight", f"--config=/run/{name}.yaml"]
        return plane.run(command, root=True, check=False).stderr

    with ThreadPoolExecutor() as pool:
        for name, text in zip(cases, pool.map(said, cases), strict=True):
            lines = [line for line in text.splitlines() if "ExternalEtcdVersion" in line]
            assert lines, (name, text)
            assert all(re.search(cases[name][1], line) for line in lines), (name, lines)


def test_an_api_server_works_through_the_renewal_of_all_certificates(cluster: Cluster) -> None:
    """Its new certificate is in use from the next connection on: that is the next test's."""
    stack = cluster.stack
    before = stack.outputs()["kubeadm_files"][CERTIFICATE_FILE]
    stack.config["certificates"] = {"validityHours": 4000}
    with using(cluster.kubeconfig) as client:
        stack.up()
        outputs = stack.outputs()
        for plane in cluster.planes:
            plane.run("sh", input=outputs["kubeadm_script"], root=True)
    assert client.watches == 1
    for plane in cluster.planes:
        now = plane.run(["cat", CERTIFICATE_FILE], root=True).stdout
        assert now.strip() == outputs["kubeadm_files"][CERTIFICATE_FILE].strip() != before.strip()


def test_an_api_server_works_through_a_rolling_change(cluster: Cluster) -> None:
    stack = cluster.stack
    stack.config["flags"] = {"max-txn-ops": "256"}
    with using(cluster.kubeconfig) as client:
        stack.up()
    assert client.watches == 1
    for machine in cluster.machines[:MEMBERS]:
        assert "--max-txn-ops=256" in command_line(machine)


def test_the_cluster_still_grows_when_somebody_has_deleted_every_key(cluster: Cluster) -> None:
    stack = cluster.stack
    deleted = int(etcdctl(cluster.machines[0], "del", "", "--prefix"))
    assert deleted > 100
    stack.config["machines"] = [machine_config(machine) for machine in cluster.machines]
    stack.up()
    assert_serves_all_members(cluster.machines)
