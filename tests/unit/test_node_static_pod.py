"""The manifest of the static pod: the flags of the unit in another frame."""

from pathlib import Path
from typing import Any

import yaml

from components.node.machine.account import Account
from components.node.service import static_pod, unit
from components.node.shared.spec import Spec

from .node_support import a_spec

USER = Account(995, 990)
IMAGE = f"https://mirror.example.com/etcd.tar#sha256={'a' * 64}"


def kubelet_spec(**changes: Any) -> Spec:
    return a_spec(service_manager="kubelet", image=IMAGE, **changes)


def manifest(text: str) -> Any:
    return yaml.safe_load(text)


def container(text: str) -> Any:
    return manifest(text)["spec"]["containers"][0]


def test_the_pod_has_exactly_the_flags_of_the_unit() -> None:
    spec = kubelet_spec(flags={"--name": "etcd-1", "--log-level": "info", "--cors": 'say "a: b" #c', "--x": ""})
    command = container(static_pod.render(spec, "localhost/etcd:1", USER))["command"]
    assert command == ["/usr/local/bin/etcd", *unit.command(spec)[1:], unit.BASE_FLAG]
    assert unit.render(spec).count("--log-level=info") == 1


def test_the_kubelet_expands_nothing_in_a_flag() -> None:
    command = container(static_pod.render(kubelet_spec(flags={"--a": "$(HOME) $x"}), "i", USER))["command"]
    assert command[1] == "--a=$$(HOME) $$x"


def test_numbers_and_words_of_yaml_stay_texts() -> None:
    spec = kubelet_spec(release={"version": "3.6.16", "mirror": "http://releases.lab", "sha256": {}})
    variables = {each["name"]: each["value"] for each in container(static_pod.render(spec, "i", USER, "12"))["env"]}
    assert variables == {"TRUSTED_CA": "12", "MEMBER_RELEASE": "3.6.16", "MEMBER_IMAGE": IMAGE}
    assert container(static_pod.render(spec, "no", USER))["image"] == "no"


def test_the_pod_has_few_rights_and_its_own_user() -> None:
    text = static_pod.render(kubelet_spec(), "i", USER)
    pod, security = manifest(text)["spec"], container(text)["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 995,
        "runAsGroup": 990,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    writable = [each["name"] for each in container(text)["volumeMounts"] if not each.get("readOnly")]
    assert writable == ["data"]


def test_the_pod_looks_like_kubeadms() -> None:
    text = static_pod.render(kubelet_spec(), "i", USER)
    head, pod = manifest(text)["metadata"], manifest(text)["spec"]
    assert head["labels"] == {"component": "etcd", "tier": "control-plane"}
    assert (head["name"], head["namespace"]) == ("etcd", "kube-system")
    assert (pod["priorityClassName"], pod["priority"], pod["hostNetwork"]) == ("system-node-critical", 2000001000, True)
    probes = {kind: container(text)[kind]["httpGet"] for kind in ("livenessProbe", "readinessProbe")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {2381}
    assert "startupProbe" not in container(text), "a member without a quorum must not be ended"
    assert container(text)["resources"]["requests"]


def test_a_start_adds_only_its_permission_and_its_time() -> None:
    text = static_pod.render(kubelet_spec(flags={"--name": "etcd-1"}), "i", USER)
    plain, permitted = static_pod.published(text, (), "t1"), static_pod.published(text, ["--initial-cluster=a=b"], "t2")
    assert container(plain)["command"] == container(text)["command"]
    assert container(permitted)["command"] == [*container(text)["command"], "--initial-cluster=a=b"]
    assert manifest(plain)["metadata"]["annotations"]["external-etcd/started"] == "t1"
    # The guard is in both: the pod starts only if the link leads somewhere.
    guard = {"name": "log", "hostPath": {"path": "/var/lib/etcd-node/start", "type": "Directory"}}
    assert guard in manifest(permitted)["spec"]["volumes"]
    assert "log" in [each["name"] for each in container(permitted)["volumeMounts"]]


def test_the_pod_gets_the_directories_of_files_that_flags_name(tmp_path: Path) -> None:
    (tmp_path / "keys").symlink_to("real")
    flags = {
        "--data-dir": "/var/lib/etcd",
        "--cert-file": "/etc/kubernetes/pki/etcd/server.crt",
        "--client-crl-file": "/etc/etcd-files/crl.der",
        "--peer-crl-file": "/etc/etcd-files/peers.der",
        "--auth-token": f"jwt,pub-key={tmp_path}/keys/a.pub,priv-key={tmp_path}/keys/a.key,sign-method=ES256",
        "--listen-client-urls": "https://10.0.0.1:2379",
    }
    text = static_pod.render(kubelet_spec(flags=flags), "i", USER)
    places = {each["name"]: each["hostPath"] for each in manifest(text)["spec"]["volumes"]}
    mounts = [each for each in container(text)["volumeMounts"] if each["name"].startswith("files-")]
    assert all(each["readOnly"] for each in mounts)
    found = {each["mountPath"]: places[each["name"]] for each in mounts}
    assert found == {
        "/etc/etcd-files": {"path": "/etc/etcd-files", "type": "Directory"},
        f"{tmp_path}/keys": {"path": f"{tmp_path}/real", "type": "Directory"},
    }
    assert len(places) == 5
