"""What Cluster API reads: Secrets, and the parts of its objects. Field names are those of its own types.

KubeadmControlPlane, v1beta1 and v1beta2: `api/controlplane/kubeadm` and `ExternalEtcd` in `api/bootstrap/kubeadm`.
Secrets: `util/secret/consts.go` and `ClusterSecretType`, `ClusterNameLabel` in `api/core`.
AWSCluster, AWSMachineTemplate: `api/v1beta2` of cluster-api-provider-aws v2. HetznerCluster: `api/v1beta1` of Syself's
provider 1.1.
"""

import json
import re
from base64 import b64decode
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.kubernetes import cluster_api
from tests.unit.test_kubernetes_outputs import CA, CERTIFICATE, ENDPOINTS, EXTERNAL, KEY
from tools.cluster_api import ensure_cluster_api


def read(*documents: cluster_api.Document) -> Any:
    """What kubectl reads: a YAML parser, or JSON."""
    text = cluster_api.text(*documents)
    found = yaml.safe_load(text)
    assert found == json.loads(text)
    return found


def secrets(cluster: str = "prod", namespace: str = "clusters", ca: str = CA) -> list[dict[str, Any]]:
    found = read(*cluster_api.secrets(cluster, namespace, ca_certificate=ca, certificate=CERTIFICATE, private_key=KEY))
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    return list(found["items"])


def test_the_secrets_have_cluster_apis_names_labels_and_keys() -> None:
    contents = {"etcd": {"tls.crt": CA}, "apiserver-etcd-client": {"tls.crt": CERTIFICATE, "tls.key": KEY}}
    for secret, (purpose, content) in zip(secrets(), contents.items(), strict=True):
        assert {name: b64decode(text).decode() for name, text in secret.pop("data").items()} == content
        assert secret == {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "cluster.x-k8s.io/secret",
            "metadata": {
                "name": f"prod-{purpose}",
                "namespace": "clusters",
                "labels": {"cluster.x-k8s.io/cluster-name": "prod"},
            },
        }


def test_the_secrets_are_those_that_cluster_apis_source_names() -> None:
    source = "".join(path.read_text() for path in ensure_cluster_api() if path.suffix == ".go")

    def constant(name: str) -> str:
        [found] = re.findall(rf'^\t{name}(?: \S+)? = (?:Purpose\()?"(.*?)"', source, re.MULTILINE)
        return str(found)

    assert 'return fmt.Sprintf("%s-%s", cluster, suffix)' in source
    made = secrets()
    assert [each["metadata"]["name"] for each in made] == [
        f"prod-{constant(purpose)}" for purpose in ("EtcdCA", "APIServerEtcdClient")
    ]
    crt, key = constant("TLSCrtDataName"), constant("TLSKeyDataName")
    assert [list(each["data"]) for each in made] == [[crt], [crt, key]]
    for each in made:
        assert each["metadata"]["labels"] == {constant("ClusterNameLabel"): "prod"}
        assert each["type"] == constant("ClusterSecretType")


@pytest.mark.parametrize("version", cluster_api.API_VERSIONS)
def test_the_patch_makes_the_control_plane_use_the_external_etcd(version: str) -> None:
    assert read(cluster_api.control_plane("prod", "clusters", ENDPOINTS, version)) == {
        "apiVersion": f"controlplane.cluster.x-k8s.io/{version}",
        "kind": "KubeadmControlPlane",
        "metadata": {"name": "prod-control-plane", "namespace": "clusters"},
        # In a merge, null removes what a template has.
        "spec": {"kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": None, "external": EXTERNAL}}}},
    }


@pytest.mark.parametrize("public", [True, False])
def test_the_cluster_on_aws_is_put_into_etcds_network(public: bool) -> None:
    found = read(
        *cluster_api.aws_cluster(
            "prod",
            "clusters",
            vpc_id="vpc-1",
            subnet_ids=["subnet-1", "subnet-2"],
            clients_group_id="sg-1",
            public=public,
        )
    )
    cluster, template = found["items"]
    addressed = {"publicIP": True} if public else {}
    assert cluster == {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "AWSCluster",
        "metadata": {"name": "prod", "namespace": "clusters"},
        "spec": {"network": {"vpc": {"id": "vpc-1"}, "subnets": [{"id": "subnet-1"}, {"id": "subnet-2"}]}},
    }
    assert template == {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "AWSMachineTemplate",
        "metadata": {"name": "prod-control-plane", "namespace": "clusters"},
        "spec": {"template": {"spec": {"additionalSecurityGroups": [{"id": "sg-1"}], **addressed}}},
    }


def test_the_cluster_on_hetzner_has_etcds_network() -> None:
    assert read(
        *cluster_api.hetzner_cluster(
            "prod", "clusters", network_range="10.1.0.0/16", subnet_range="10.1.1.0/24", zone="eu-central"
        )
    ) == {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
        "kind": "HetznerCluster",
        "metadata": {"name": "prod", "namespace": "clusters"},
        "spec": {
            "hcloudNetwork": {
                "enabled": True,
                "cidrBlock": "10.1.0.0/16",
                "subnetCidrBlock": "10.1.1.0/24",
                "networkZone": "eu-central",
            }
        },
    }


@pytest.mark.parametrize("endpoints", [[], ["http://10.0.0.1:2379"]])
def test_a_control_plane_without_tls_to_etcd_is_refused(endpoints: list[str]) -> None:
    with pytest.raises(ValueError, match="https"):
        cluster_api.control_plane("prod", "clusters", endpoints)


@pytest.mark.parametrize("name", ["a.b", "Prod", "prod-", "", "a" * 64])
def test_a_name_from_which_no_secret_or_machine_can_be_named_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"cluster_name.*The Secrets <name>-etcd and .* must be a DNS label"):
        secrets(name)
    with pytest.raises(ValueError, match="DNS label"):
        cluster_api.control_plane(name, "clusters", ENDPOINTS)


@pytest.mark.parametrize("name", ["1", "null", "yes", "1e3", "0x10"])
def test_ambiguous_yaml_names_stay_texts(name: str) -> None:
    assert {each["metadata"]["namespace"] for each in secrets(name, name)} == {name}


@given(st.text(st.characters(codec="utf-8")))
def test_every_certificate_survives_a_round_trip(pem: str) -> None:
    found = cluster_api.secrets("prod", "clusters", ca_certificate=pem, certificate=pem, private_key=pem)
    for each in json.loads(cluster_api.text(*found))["items"]:
        assert {b64decode(value).decode() for value in each["data"].values()} == {pem}
