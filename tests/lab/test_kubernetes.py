"""A real Kubernetes control plane starts from the outputs and works through changes of its etcd.

The tests share two control planes, in this order; the last one destroys what they have stored.
"""

import contextlib
import datetime
import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from components.kubernetes import CA_FILE, CERTIFICATE_FILE, KEY_FILE
from components.plan.users import API_SERVERS
from lab import LabError, Machine, kubernetes
from tests.support import cluster_api
from tests.support.api_client import using
from tests.support.api_load import Load, under_load
from tests.support.api_watch import LISTED, Informer, informed
from tests.support.authority import OwnAuthority
from tests.support.etcd import assert_serves_all_members, command_line, etcdctl, process_ids, running_versions
from tests.support.machines import Machines
from tests.support.manual import kubernetes_manual
from tests.support.manual_shell import ManagementCluster, in_lab, on_this_computer
from tests.support.prometheus import as_the_operator_makes_it, assert_scrapes
from tests.support.restores import BUMP, save_snapshot
from tests.support.stacks import REPO, Stack, Stacks, machine_config
from tests.support.waiting import every
from tools.prometheus import ensure_operator_crds

MEMBERS, LATER, IN_ALL = 3, 5, 6
KEEPALIVE_TIMEOUT = 10
"""Seconds, in API servers' connections to etcd: keepaliveTimeout in Kubernetes' storagebackend/factory/etcd3.go."""
RESTORE_GAP = 10.0
"""Seconds without an answer that a restore may cost clients of API servers, on this busy computer."""
LIFE = 60
"""Seconds until the certificate before the renewal expires. Other tests run meanwhile."""
WORKLOAD = {"clusterName": cluster_api.NAME, "namespace": "clusters"}
UP, LOOK, DOWN = re.findall(r"^python3 -m lab .*kube.*", (REPO / "README.md").read_text(), re.MULTILINE)
# The lab's machines have no curl.
CURL = """
curl() {
    python3 - "$2" 2>/dev/null <<'END'
import ssl, sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=5, context=ssl._create_unverified_context())
END
}
"""
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
    """etcd on the first machines, and two control planes."""

    machines: list[Machine]
    stack: Stack
    authority: OwnAuthority
    planes: list[Machine]

    def kubeconfig(self, plane: Machine) -> str:
        """The administrator's, for this control plane's API server."""
        text = self.planes[0].run(["cat", kubernetes.ADMIN], root=True).stdout
        return text.replace(self.planes[0].address, plane.address)

    def give_files(self, *planes: Machine) -> None:
        """Put the present files in place on these control planes, by default on all."""
        script = self.stack.outputs()["kubeadm_script"]
        for plane in planes or self.planes:
            plane.run("sh", input=script, root=True)


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> Iterator[Cluster]:
    """The README's command creates the control planes, and first refuses to begin on what an earlier one left."""
    found, authority, lab = machines.fresh(IN_ALL), OwnAuthority(), machines.lab
    own = {"name": "own", "certificate": authority.certificate, "privateKey": authority.private_key}
    stack = stacks.new(found[:MEMBERS], authorities=[own], clusterApi=WORKLOAD, prometheus=True)
    stack.up()
    # As `make up` leaves it for the lab's commands.
    environ = {**stack.environ, "PULUMI_STACK": stack.directory.name}
    lines = [f"export {key}={shlex.quote(text)}\n" for key, text in environ.items() if os.environ.get(key) != text]
    (lab.dir / "env").write_text("".join(lines))
    etcdctl(found[0], "put", "/registry/minions/old", "")
    refused = in_lab(lab, UP).stderr
    assert "etcd has the objects of an earlier control plane" in refused, refused
    assert in_lab(lab, refused.splitlines()[-1]).stdout == "1\n"
    try:
        done = in_lab(lab, UP)
        assert done.returncode == 0, done.stderr
        yield Cluster(found, stack, authority, [lab.machine(name) for name in ("control-1", "control-2")])
    finally:
        removed = in_lab(lab, DOWN)
        (lab.dir / "env").unlink()
    assert removed.stdout == "removed control-1, control-2; an external etcd keeps what they stored, under /registry/\n"


@pytest.fixture(scope="module")
def earlier(cluster: Cluster) -> tuple[dict[str, str], datetime.datetime]:
    """A certificate and key of the API servers that soon expire, as files, and when: as if a year had passed."""
    pair = cluster.authority.issue(API_SERVERS, life=datetime.timedelta(seconds=LIFE))
    ends = x509.load_pem_x509_certificate(pair[0].encode()).not_valid_after_utc
    applied = cluster.stack.outputs()["applied"]
    applied["clients"]["apiserver-etcd-client"][0]["expires"] = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    cluster.stack.left(applied=applied)
    return dict(zip((CERTIFICATE_FILE, KEY_FILE), pair, strict=True)), ends


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
    checks = cluster.planes[0].run(kubernetes_manual("kubeadm", 2), root=True).stdout
    assert checks == "[+]etcd ok\n[+]etcd-readiness ok\n"


def test_the_command_leaves_complete_control_planes_alone(cluster: Cluster, machines: Machines) -> None:
    again = in_lab(machines.lab, UP)
    assert again.returncode == 0, again.stderr
    assert "kubeadm" not in again.stdout
    nodes = [line.split() for line in in_lab(machines.lab, LOOK).stdout.splitlines()[1:]]
    assert [node[:3] for node in nodes] == [[plane.name, "NotReady", "control-plane"] for plane in cluster.planes]


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


def test_api_servers_need_no_restart_when_their_etcd_is_restored(cluster: Cluster, tmp_path: Path) -> None:
    """What was created after the snapshot is gone, and no informer is given a revision below one that it has seen."""
    stack, member, (first, second) = cluster.stack, cluster.machines[0], cluster.planes
    process = "ps -o pid=,lstart= -p $(pgrep -x kube-apiserver)"
    before = [plane.run(process).stdout for plane in cluster.planes]
    listing = "/api/v1/namespaces/shop/pods?limit=1"
    token = json.loads(kubectl(second, "get", f"--raw={listing}"))["metadata"]["continue"]

    def restore(_: Load) -> None:
        save_snapshot(member, tmp_path / "snapshot.db")
        kubectl(first, "--namespace=shop", "create", "configmap", "later", "--from-literal=lost=yes")
        kubectl(first, "--namespace=shop", "patch", "configmap", "prices", '--patch={"data": {"tea": "4"}}')
        kubectl(first, "--namespace=shop", "delete", "secret", "till")
        kubectl(first, "--namespace=shop", "scale", "deployment/counter", "--replicas=3")
        assert _believed(informers, later={"lost": "yes"}, prices={"tea": "4"})
        stack.config["restore"] = {"from": str(tmp_path / "snapshot.db"), "confirm": "test"}
        stack.up()
        assert _believed(informers, later=None, prices={"tea": "3"})

    with informed(*map(cluster.kubeconfig, cluster.planes)) as informers:
        report = under_load(cluster.kubeconfig(first), restore, patience=2)
        kubectl(first, "--namespace=shop", "create", "configmap", "again", "--from-literal=after=yes")
        assert _believed(informers, again={"after": "yes"})
    print(f"restored: {report.gap:.1f} s without an answer; {[each.gone for each in informers]}")
    assert report.gap < RESTORE_GAP
    for informer in informers:
        revisions = [each.revision for each in informer.seen]
        assert revisions == sorted(revisions)
        above = [each for each in informer.seen if each.revision > BUMP]
        assert above[0].kind == LISTED, "it was told to list again"
        assert any(each.kind == "ADDED" for each in above)
        assert informer.gone
        last = max(revision for revision in revisions if revision < BUMP)
        for plane in cluster.planes:
            said = kubectl(plane, "get", f"--raw=/api/v1/configmaps?watch=true&timeoutSeconds=5&resourceVersion={last}")
            assert json.loads(said)["object"]["code"] == 410, said
            with pytest.raises(LabError, match="Expired"):
                kubectl(plane, "get", f"--raw={listing}&continue={token}")
    assert [plane.run(process).stdout for plane in cluster.planes] == before

    kubectl(second, "--namespace=shop", "get", "secret/till")
    assert kubectl(second, "--namespace=shop", "get", "deployment/counter", "--output=jsonpath={.spec.replicas}") == "2"
    # The controller managers go on, too.
    kubectl(first, "--namespace=shop", "scale", "deployment/counter", "--replicas=4")
    for _ in every(0.5, seconds=30):
        if len(kubectl(second, "--namespace=shop", "get", "pods", "--output=name").split()) == 4:
            break
    else:
        raise AssertionError("nobody makes the pods")
    del stack.config["restore"]  # with the next change


def _believed(informers: list[Informer], **data: dict[str, str] | None) -> bool:
    """Whether soon all believe that these ConfigMaps have these data; None: that there is none."""
    wanted = {f"shop/{name}": value for name, value in data.items()}
    return any(
        all(each.objects.get(name) == value for each in informers for name, value in wanted.items())
        for _ in every(0.1, seconds=30)
    )


def test_an_api_server_works_through_the_renewal_of_all_certificates(
    cluster: Cluster, earlier: tuple[dict[str, str], datetime.datetime], tmp_path: Path
) -> None:
    """Its new certificate is in use from the next connection on: that is the next test's.

    Nobody gives it to the second control plane. Members and stack say until when that must be done.
    """
    stack, (first, second) = cluster.stack, cluster.planes
    files, ends = earlier
    for plane in cluster.planes:
        for path, content in files.items():
            kubernetes.write(plane, path, content)
    stack.config["certificates"] = {"validityHours": 4000}
    with using(cluster.kubeconfig(first)):
        run = stack.up()
        script = {"kubeadm_script": stack.outputs()["kubeadm_script"]}
        lines = kubernetes_manual("With kubeadm", 0).replace(" control-plane-2 control-plane-3", "")
        on_this_computer(tmp_path, [first], script, lines)
    said = f"An API server that still has the earlier one gets no new connection after {ends:%Y-%m-%dT%H:%M:%SZ}"
    for machine in cluster.machines[:MEMBERS]:
        assert said in machine.run("etcd-node status", root=True).stdout
    for text in (run.text, stack.preview().text):
        assert said in text
    renewed = x509.load_pem_x509_certificate(stack.outputs()["kubeadm_files"][CERTIFICATE_FILE].encode())
    end = kubernetes_manual("The earlier certificate", 0)
    for plane, time_there in ((first, renewed.not_valid_after_utc), (second, ends)):
        shown = plane.run(end, root=True).stdout.strip().removeprefix("notAfter=")
        assert datetime.datetime.strptime(f"{shown[:-3]}+0000", "%b %d %H:%M:%S %Y %z") == time_there


def test_an_api_server_works_through_an_upgrade(cluster: Cluster) -> None:
    """Each member restarts twice, the first time for a snapshot."""
    members = cluster.machines[:MEMBERS]
    cluster.stack.config["version"] = "3.7.3"
    with using(cluster.kubeconfig(cluster.planes[0]), stops=2 * MEMBERS):
        cluster.stack.up()
    assert running_versions(members) == ["3.7.3"] * MEMBERS


def test_kubeadm_names_the_reason_if_a_certificate_is_not_accepted(cluster: Cluster) -> None:
    plane, stranger = cluster.planes[0], OwnAuthority("stranger")
    outputs = cluster.stack.outputs()
    pair = (CERTIFICATE_FILE, KEY_FILE)
    foreign = zip(pair, stranger.issue(API_SERVERS), strict=True)
    expired = zip(pair, cluster.authority.issue(API_SERVERS, life=datetime.timedelta(days=-1)), strict=True)
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


def test_an_api_server_accepts_all_objects_for_cluster_api_on_aws(cluster: Cluster) -> None:
    """By the manual's commands, with the provider's own template, which has KubeadmControlPlane v1beta1.

    CRDs without a conversion only rename the version of what is stored. So only the exported part is compared, which is
    the same in v1beta2.
    """
    plane, outputs, namespace = cluster.planes[0], cluster.stack.outputs(), "elders"
    kubectl(plane, "apply", "--server-side", "--filename=-", text=cluster_api.crds())
    kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
    exported = {
        "cluster_api": outputs["cluster_api"].replace('"clusters"', f'"{namespace}"'),
        "cluster_api_control_plane": cluster_api.control_plane(namespace, outputs["endpoints"], "v1beta1"),
        "cluster_api_infrastructure": cluster_api.infrastructure("aws", namespace),
    }
    management = ManagementCluster(plane, "aws", namespace, exported)
    said = management.run(kubernetes_manual("Cluster API on AWS", 1))
    assert "apiVersion: controlplane.cluster.x-k8s.io/v1beta1" in said
    # Cluster API's controller sets it.
    condition = {"type": "ControlPlaneInitialized", "status": "True", "lastTransitionTime": "2026-11-29T10:00:00Z"}
    patch = f"--patch={json.dumps({'status': {'conditions': [condition]}})}"
    kind = "clusters.v1beta1.cluster.x-k8s.io"
    management.kubectl("patch", kind, cluster_api.NAME, "--subresource=status", "--type=merge", patch)
    said = management.run(kubernetes_manual("Cluster API on AWS", 2))
    assert said.endswith("[+]etcd ok\n[+]etcd-readiness ok\n")
    management.apply_again()


def test_an_api_server_accepts_all_objects_for_cluster_api_on_hetzner(cluster: Cluster) -> None:
    """The same with KubeadmControlPlane v1beta2, and then the manual's changes of it.

    The CRD of HetznerCluster is this test's: its provider's Go module is not available.
    """
    outputs = cluster.stack.outputs()
    exported = {name: outputs[name] for name in ("cluster_api", "cluster_api_control_plane")}
    exported["cluster_api_infrastructure"] = cluster_api.infrastructure("hetzner", "clusters")
    management = ManagementCluster(cluster.planes[0], "hetzner", "clusters", exported)
    management.run(kubernetes_manual("Cluster API on Hetzner Cloud", 1))
    assert management.kubectl("get", "secret", "hcloud", "--output=jsonpath={.data}") == '{"hcloud":"dG9rZW4="}'
    management.run(kubernetes_manual("With Cluster API", 0))
    more = [*outputs["endpoints"], "https://10.0.0.9:2379"]
    exported["cluster_api_control_plane"] = cluster_api.control_plane("clusters", more, "v1beta2")
    management.run(kubernetes_manual("With Cluster API", 1))
    management.apply_again()


def test_an_api_server_accepts_all_objects_for_the_prometheus_operator(cluster: Cluster, tmp_path: Path) -> None:
    """What it stores is enough for a Prometheus to scrape all members, with the Secret as its client certificate."""
    plane, output = cluster.planes[0], cluster.stack.outputs()["prometheus_operator"]
    apply = ("apply", "--server-side", "--force-conflicts", "--filename=-")
    kubectl(plane, *apply, text="---\n".join(file.read_text() for file in ensure_operator_crds()))
    kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
    kubectl(plane, "create", "namespace", "monitoring")
    kubectl(plane, *apply, text=output)
    kubectl(plane, *apply, text=output)
    for right, wrong, said in (
        (
            '"tlsConfig"',
            '"tls"',
            r'unknown field "tls" in com\.coreos\.monitoring\.v1\.ServiceMonitor\.spec\.endpoints',
        ),
        ('"scheme": "https"', '"scheme": "tls"', r'Unsupported value: "tls"'),
        ('"for": "15m"', '"for": "15 m"', r"spec\.groups\[1\]\.rules\[0\]\.for in body should match"),
    ):
        with pytest.raises(LabError, match=said):
            kubectl(plane, *apply, text=output.replace(right, wrong))
    found = cluster_api.objects(kubectl(plane, "get", "--filename=-", "--output=json", text=output))
    for there, given in zip(found, cluster_api.objects(output), strict=True):
        assert cluster_api.holds(there, given)
    members = cluster.machines[:MEMBERS]
    name = found[0]["metadata"]["name"]
    assert_scrapes(as_the_operator_makes_it(found, tmp_path), name.removeprefix("etcd-"), members)

    # For a Prometheus that discovers EndpointSlices, Kubernetes copies the Endpoints, with the names of the members.
    slices = ("get", "endpointslices", "--namespace=monitoring", f"--selector=kubernetes.io/service-name={name}")
    names = "--output=jsonpath={.items[*].endpoints[*].hostname}"
    for _ in every(0.5, seconds=20):
        if copied := kubectl(plane, *slices, names).split():
            break
    assert sorted(copied) == [machine.name for machine in members]


def test_only_an_api_server_with_the_renewed_certificate_works_past_the_end_of_the_earlier_one(
    cluster: Cluster, earlier: tuple[dict[str, str], datetime.datetime]
) -> None:
    """For a new kind of objects, an API server opens new connections to etcd."""
    first, second = cluster.planes
    coffee = OBJECTS.rpartition("---")[2].replace("tea", "coffee").replace("Tea", "Coffee")
    process = second.run(["pgrep", "-x", "kube-apiserver"]).stdout

    def coffees(plane: Machine, limit: str) -> str:
        server = f"--server=https://{plane.address}:6443"
        return kubectl(plane, server, "get", "coffees", f"--request-timeout={limit}")

    with using(cluster.kubeconfig(first)):
        time.sleep(max(0.0, (earlier[1] - datetime.datetime.now(datetime.UTC)).total_seconds() + 1))
        kubectl(first, "apply", "--filename=-", text=coffee)
        kubectl(first, "wait", "--for=condition=Established", "crd/coffees.example.com", "--timeout=20s")
        coffees(first, "20s")
    with pytest.raises(LabError, match=r"imeout|deadline"):
        coffees(second, "1s")
    journals = [machine.run("journalctl -q -u etcd", root=True).stdout for machine in cluster.machines[:MEMBERS]]
    refused = re.compile(f"rejected connection.*{re.escape(second.address)}.*certificate has expired")
    assert any(map(refused.search, journals))
    cluster.give_files(second)
    for _ in every(0.5, seconds=30):
        with contextlib.suppress(LabError):
            coffees(second, "1s")
            break
    else:
        raise AssertionError("it does not use the new files")
    assert second.run(["pgrep", "-x", "kube-apiserver"]).stdout == process


def test_api_servers_work_through_a_reinstalled_machine_and_a_replaced_ca(cluster: Cluster, machines: Machines) -> None:
    """The machine's new member joins in the first of the three updates."""
    stack, (first, second) = cluster.stack, cluster.planes
    wiped = cluster.machines[0]
    with using(cluster.kubeconfig(first), stops=MEMBERS):
        # An API server notices only after 40 s that a machine is gone which has not closed its connections.
        wiped.run("systemctl stop etcd", root=True)
        machines.lab.wipe(wiped.name)
        cluster.machines[0] = machines.lab.machine(wiped.name)
        stack.config["machines"][0]["identity"] = "reinstalled"
        stack.config.update(authorities=[*stack.config["authorities"], {"name": "next"}], issuer="own")
        stack.up()
    cluster.give_files()
    restart = kubernetes_manual("With kubeadm", 1)
    with using(cluster.kubeconfig(first)) as one, using(cluster.kubeconfig(second)) as other:
        for plane, client in ((first, one), (second, other)):
            with client.restart():
                plane.run(f"set -e\n{CURL}\n{restart}", root=True, timeout=120)

    before = process_ids(cluster.machines[:MEMBERS])
    stack.config["issuer"] = "next"
    with using(cluster.kubeconfig(first)):
        stack.up()
        cluster.give_files()
    assert process_ids(cluster.machines[:MEMBERS]) == before
    stack.config["authorities"] = [{"name": "next"}]
    with using(cluster.kubeconfig(first), stops=MEMBERS):
        stack.up()
        cluster.give_files()
    for plane in cluster.planes:
        ca = plane.run(["cat", CA_FILE], root=True).stdout
        assert ca.strip() == stack.outputs()["ca_cert"].strip() != cluster.authority.certificate.strip()
    assert_serves_all_members(cluster.machines[:MEMBERS])


def test_an_api_server_works_through_growth_and_a_rolling_change_and_gets_the_endpoints(cluster: Cluster) -> None:
    stack, plane = cluster.stack, cluster.planes[0]
    there = cluster.machines[:LATER]
    stack.config["machines"] += [machine_config(machine) for machine in there[MEMBERS:]]
    stack.config["flags"] = {"max-txn-ops": "256"}
    with using(cluster.kubeconfig(plane), stops=MEMBERS) as client:
        stack.up()
        _, last, *new = stack.outputs()["endpoints"][1:]
        lines = "".join(rf"\n\1{url}" for url in new)
        kubernetes.write(plane, "/run/editor", f"sed -Ei 's#^( *- ){last}$#&{lines}#' \"$1\"\n")
        edit, rewrite = kubernetes_manual("With kubeadm", 2), kubernetes_manual("With kubeadm", 3)
        plane.run(f"export KUBECONFIG={kubernetes.ADMIN} KUBE_EDITOR='sh /run/editor'\n{edit}", root=True)
        # As the manual says for machines with several networks: these have no default route.
        own = f"localAPIEndpoint: {{advertiseAddress: {plane.address}}}"
        own = f"'---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n{own}'"
        rewrite = rewrite.replace("> cluster.yaml\n", f"> cluster.yaml; echo {own} >> cluster.yaml\n")
        with client.restart():
            plane.run(f"set -e; cd /run\n{CURL}\n{rewrite}", root=True, timeout=120)
    manifest = plane.run("cat /etc/kubernetes/manifests/kube-apiserver.yaml", root=True).stdout
    assert f"--etcd-servers={','.join(stack.outputs()['endpoints'])}\n" in manifest
    assert len(stack.outputs()["endpoints"]) == LATER
    for machine in there:
        assert "--max-txn-ops=256" in command_line(machine)


def test_a_member_without_power_holds_requests_until_grpc_gives_its_connection_up(cluster: Cluster) -> None:
    """This API server has three endpoints, and sends every third request to each.

    The lab's power cut still closes connections. So the member sends nothing to the control plane any more.
    """
    plane, silent = cluster.planes[1], cluster.machines[MEMBERS - 1]

    def cut(load: Load) -> None:
        silent.run(["ip", "route", "add", "blackhole", plane.address], root=True)
        over = time.monotonic() + KEEPALIVE_TIMEOUT + 1
        for _ in every(0.1, seconds=KEEPALIVE_TIMEOUT + 10):
            if load.answered > over:
                break

    try:
        report = under_load(cluster.kubeconfig(plane), cut)
    finally:
        silent.run(["ip", "route", "del", "blackhole", plane.address], root=True, check=False)
    print(report)
    assert KEEPALIVE_TIMEOUT - 2 < report.gap < KEEPALIVE_TIMEOUT + 5
    assert report.longest < KEEPALIVE_TIMEOUT + 5
    # A write of unknown outcome is not repeated.
    assert report.failed <= 1, report.errors


def test_members_still_join_and_leave_when_somebody_has_deleted_every_key(cluster: Cluster) -> None:
    *there, leaving, joining = cluster.machines
    deleted = int(etcdctl(there[0], "del", "", "--prefix"))
    assert deleted > 100
    entries = [entry for entry in cluster.stack.config["machines"] if entry["name"] != leaving.name]
    cluster.stack.config["machines"] = [*entries, machine_config(joining)]
    cluster.stack.up()
    assert_serves_all_members([*there, joining])


def test_the_manuals_commands_start_a_control_plane_and_store_its_files(
    cluster: Cluster, machines: Machines, tmp_path: Path
) -> None:
    """On an etcd without keys."""
    plane, outputs = cluster.planes[1], cluster.stack.outputs()
    machines.lab.kill(cluster.planes[0].name)
    # The part of `kubeadm reset` that does not look for a local etcd, which takes a minute.
    plane.run(["kubeadm", "reset", "phase", "cleanup-node"], root=True)
    etcdctl(cluster.machines[0], "del", "", "--prefix")
    files = {name: outputs[name] for name in ("kubeadm", "kubeadm_script")}
    added = kubernetes_manual("kubeadm", 0, "yaml").replace("api.example.com", plane.address)
    files["edited"] = kubernetes.whole_configuration(files["kubeadm"] + added, plane.address)
    # The check does not know containers.
    ignore = "kubeadm init --ignore-preflight-errors=SystemVerification"
    said = on_this_computer(tmp_path, [plane], files, kubernetes_manual("kubeadm", 0).replace("kubeadm init", ignore))
    assert "Your Kubernetes control-plane has initialized successfully!" in said
    assert re.search(r"kubeadm join \S+ --token [^#]*--control-plane --certificate-key [0-9a-f]{64}\n", said)
    assert etcdctl(cluster.machines[0], "get", f"/registry/minions/{plane.name}", "--keys-only").strip()

    forget = ("delete", "secret", "kubeadm-certs", "--namespace=kube-system")
    kubectl(plane, *forget)
    said = plane.run(f"set -e; cd ~operator\n{kubernetes_manual('kubeadm', 1)}", root=True).stdout
    assert re.search(r"^[0-9a-f]{64}\nkubeadm join \S+ --token ", said, re.MULTILINE), said
    stored = json.loads(kubectl(plane, "get", *forget[1:], "--output=jsonpath={.data}"))
    assert {"external-etcd-ca.crt", "external-etcd.crt", "external-etcd.key"} <= stored.keys()
