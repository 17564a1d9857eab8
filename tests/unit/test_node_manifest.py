"""The edit of a kube-apiserver's manifest: four values change, every other byte stays, and the way back is exact."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.control_plane import manifest
from components.node.shared.errors import NodeError

# As kubeadm 1.36 writes it, shortened.
MANIFEST = """\
apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 10.1.2.11:6443
  labels:
    component: kube-apiserver
  name: kube-apiserver
  namespace: kube-system
spec:
  containers:
  - command:
    - kube-apiserver
    - --advertise-address=10.1.2.11
    - --allow-privileged=true
    - --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt
    - --etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt
    - --etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key
    - --etcd-servers=https://127.0.0.1:2379
    - --secure-port=6443
    image: registry.example/kube-apiserver:v1.36.3
    livenessProbe:
      httpGet:
        host: 10.1.2.11
  hostNetwork: true
status: {}
"""
SERVERS = "    - --etcd-servers=https://127.0.0.1:2379\n"
EXTERNAL = {
    "--etcd-servers": "https://10.1.1.11:2379,https://10.1.1.12:2379,https://[2001:db8::13]:2379",
    "--etcd-cafile": "/etc/etcd/ca.crt",
    "--etcd-certfile": "/etc/etcd/client.crt",
    "--etcd-keyfile": "/etc/etcd/client.key",
}

lines = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30)
quotes = st.sampled_from(["", '"', "'"])


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """A manifest with other lines between, other order, quotes and line ends, that a person has edited."""
    flags = draw(st.permutations(list(manifest.FLAGS)))
    indent, end = " " * draw(st.integers(0, 8)), draw(st.sampled_from(["\n", "\r\n"]))
    values = {
        flag: draw(st.sampled_from(["/a/b.crt", "https://10.0.0.1:2379", "https://[::1]:2379"])) for flag in flags
    }
    text = f"{indent}- kube-apiserver{end}"
    for flag in flags:
        quote = draw(quotes)
        text += "".join(f"{indent}# {line}\n" for line in draw(st.lists(lines, max_size=2)))
        text += f"{indent}- {quote}{flag}={values[flag]}{quote}{end}"
        text += "".join(f"{line}\n" for line in draw(st.lists(lines, max_size=2)) if "--etcd" not in line)
    return text


def test_only_the_values_change() -> None:
    after = manifest.edited(MANIFEST, EXTERNAL)
    changed = [(old, new) for old, new in zip(MANIFEST.splitlines(), after.splitlines(), strict=True) if old != new]
    assert [new.partition("=")[0] for _, new in changed] == [old.partition("=")[0] for old, _ in changed]
    assert manifest.read(after) == EXTERNAL
    assert len(changed) == len(EXTERNAL)


@given(manifests(), st.fixed_dictionaries({flag: st.just(value) for flag, value in EXTERNAL.items()}))
def test_the_way_back_restores_every_byte(text: str, values: dict[str, str]) -> None:
    before = manifest.read(text)
    after = manifest.edited(text, values)
    assert manifest.read(after) == values
    assert manifest.edited(after, before) == text
    # An edit with the present values is none.
    assert manifest.edited(text, before) == text


@given(manifests())
def test_all_other_text_stays(text: str) -> None:
    def rest(each: str) -> str:
        return re.sub(r"(--etcd-(?:servers|cafile|certfile|keyfile)=)[^\s\"']*", r"\1", each)

    assert rest(manifest.edited(text, EXTERNAL)) == rest(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (SERVERS, "", "has no --etcd-servers"),
        (SERVERS, SERVERS * 2, "has --etcd-servers twice"),
        (SERVERS, SERVERS * 3, "has --etcd-servers 3 times"),
        (SERVERS, "    - --etcd-servers\n    - https://127.0.0.1:2379\n", "in a form other than a line"),
        (SERVERS, SERVERS.replace("\n", " # mine\n"), "in a form other than a line"),
        (SERVERS, SERVERS.replace("https", "$(WHERE)https"), "in a form other than a line"),
        (SERVERS, f"{SERVERS}    - --etcd-servers-overrides=/events#https://10.9.9.9:2379\n", "in another etcd"),
        ("    - kube-apiserver\n", "    - hyperkube\n", "no command that begins with"),
        (
            "    - kube-apiserver\n",
            "    - sh\n    - -c\n    - kube-apiserver --etcd-servers=x\n",
            "no command that begins",
        ),
        (MANIFEST, "command: [kube-apiserver, --etcd-servers=https://127.0.0.1:2379]\n", "no command that begins with"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(old: str, new: str, said: str) -> None:
    text = MANIFEST.replace(old, new)
    assert text != MANIFEST
    with pytest.raises(NodeError, match=re.escape(said)) as error:
        manifest.edited(text, EXTERNAL)
    assert "it was not changed" in str(error.value)


def test_a_flag_in_a_comment_does_not_count() -> None:
    text = MANIFEST.replace(SERVERS, f"    # - --etcd-servers=https://10.9.9.9:2379\n{SERVERS}")
    assert manifest.read(text)["--etcd-servers"] == "https://127.0.0.1:2379"


@pytest.mark.parametrize("value", ["a b", "a\nb", 'a"b', "a#b", "", "a{b"])
def test_a_value_that_yaml_would_read_otherwise_is_refused(value: str) -> None:
    with pytest.raises(NodeError, match="cannot have the value"):
        manifest.edited(MANIFEST, {"--etcd-servers": value})
