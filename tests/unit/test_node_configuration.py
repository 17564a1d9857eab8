"""The edit of kubeadm's ClusterConfiguration: the block `etcd` is replaced, every other line stays."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.node.control_plane import configuration
from components.node.shared.errors import NodeError

ENDPOINTS = ["https://10.1.1.11:2379", "https://10.1.1.12:2379"]
FILES = ("/etc/kubernetes/pki/etcd/ca.crt", "/etc/kubernetes/pki/a.crt", "/etc/kubernetes/pki/a.key")
# As kubeadm 1.36 writes it.
V1BETA4 = """\
apiServer:
  extraArgs:
  - name: etcd-prefix
    value: untouched
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificateValidityPeriod: 8760h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controlPlaneEndpoint: 10.1.2.11:6443
controllerManager: {}
dns:
  disabled: true
encryptionAlgorithm: ECDSA-P256
etcd:
  local:
    dataDir: /var/lib/etcd
    extraArgs:
    - name: quota-backend-bytes
      value: "8589934592"
    imageTag: 3.6.16-0
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking:
  dnsDomain: cluster.local
  serviceSubnet: 10.96.0.0/12
proxy: {}
scheduler: {}
"""
# As kubeadm 1.30 writes it.
V1BETA3 = """\
apiServer:
  extraArgs:
    authorization-mode: Node,RBAC
  timeoutForControlPlane: 4m0s
apiVersion: kubeadm.k8s.io/v1beta3
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager: {}
dns: {}
etcd:
  local:
    dataDir: /var/lib/etcd
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.30.14
networking:
  dnsDomain: cluster.local
scheduler: {}
"""


def external(text: str) -> str:
    return configuration.with_external(text, ENDPOINTS, *FILES)


@pytest.mark.parametrize("text", [V1BETA4, V1BETA3], ids=["v1beta4", "v1beta3"])
def test_etcd_becomes_external_and_nothing_else_changes(text: str) -> None:
    assert configuration.kind(text) == configuration.LOCAL
    after = external(text)
    assert configuration.kind(after) == configuration.EXTERNAL
    ca, certificate, key = FILES
    wanted = {"external": {"endpoints": ENDPOINTS, "caFile": ca, "certFile": certificate, "keyFile": key}}
    assert yaml.safe_load(after) == {**yaml.safe_load(text), "etcd": wanted}
    before, _, rest = text.partition("etcd:\n  local:")
    assert after.startswith(before)
    assert after.endswith(rest.partition("imageRepository")[2])
    assert external(after) == after


values = st.recursive(
    st.text(max_size=12) | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True), values, max_size=5), values)
def test_every_other_setting_survives(others: dict[str, object], local: object) -> None:
    document = {**others, "apiVersion": "kubeadm.k8s.io/v1beta4", "etcd": {"local": local}}
    text = yaml.safe_dump(document, allow_unicode=True)
    try:
        after = external(text)
    except NodeError:
        return  # in a form that kubeadm does not write; the next test has some
    # What `text` has, and not `local`: PyYAML reads back a line break such as U+0085 as a space.
    before = yaml.safe_load(text)
    assert {**yaml.safe_load(after), "etcd": before["etcd"]} == before
    assert list(yaml.safe_load(after)["etcd"]) == ["external"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (V1BETA4.replace("v1beta4", "v1beta2"), "apiVersion is kubeadm.k8s.io/v1beta2"),
        (V1BETA4.replace("apiVersion: kubeadm.k8s.io/v1beta4\n", ""), "apiVersion is missing"),
        (V1BETA4.replace("etcd:\n", "other:\n"), "there is no key `etcd`"),
        (V1BETA4 + "etcd:\n  local: {}\n", "the key `etcd` is there twice"),
        (V1BETA4 + "---\nkind: Other\n", "begins with something else"),
        (
            V1BETA4.replace("etcd:\n  local:\n    dataDir: /var/lib/etcd\n", "etcd: {local: {}}\n"),
            "not on the lines below",
        ),
        (V1BETA4.replace("  local:\n", "  remote:\n"), "etcd has remote"),
        (V1BETA4.replace("  local:\n", "  external: {}\n  local:\n"), "etcd has external and local"),
        (V1BETA4.replace("  local:\n", "\tlocal:\n"), "not in the form that kubeadm writes"),
        ("{apiVersion: kubeadm.k8s.io/v1beta4, etcd: {local: {}}}\n", "not in the form that kubeadm writes"),
        ("", "apiVersion is missing"),
    ],
)
def test_a_configuration_that_cannot_be_understood_is_refused(text: str, said: str) -> None:
    with pytest.raises(NodeError, match="it was not changed") as error:
        external(text)
    assert said in str(error.value)


@pytest.mark.parametrize("url", ["http://10.1.1.11:2379", "https://10.1.1.11:2379\nkind: x", "https://a b"])
def test_an_endpoint_that_yaml_would_read_otherwise_is_refused(url: str) -> None:
    with pytest.raises(NodeError, match="cannot have the value"):
        configuration.with_external(V1BETA4, [url], *FILES)


@pytest.mark.parametrize(
    "flag", ["etcd-servers", "etcd-cafile", "etcd-certfile", "etcd-keyfile", "etcd-servers-overrides"]
)
@pytest.mark.parametrize(
    ("text", "there", "entry"),
    [
        (V1BETA4, "  - name: etcd-prefix\n", "  - name: {}\n"),
        (V1BETA4, "  - name: etcd-prefix\n", '  - name: "{}"\n'),
        (V1BETA3, "    authorization-mode: Node,RBAC\n", "    {}: https://127.0.0.1:2379\n"),
        (V1BETA3, "  extraArgs:\n    authorization-mode: Node,RBAC\n", '  extraArgs: {{"{}": "x"}}\n'),
    ],
)
def test_a_flag_for_etcd_that_the_next_upgrade_would_restore_is_refused(
    text: str, there: str, entry: str, flag: str
) -> None:
    with pytest.raises(NodeError, match=rf"sets {flag} in apiServer.extraArgs.*it was not changed"):
        configuration.kind(text.replace(there, entry.format(flag)))


def test_the_same_name_elsewhere_means_nothing() -> None:
    for old, new in (
        ("value: untouched", "value: /etc/etcd-cafile"),
        ("clusterName: kubernetes", "clusterName: etcd-servers"),
    ):
        assert configuration.kind(V1BETA4.replace(old, new)) == configuration.LOCAL
