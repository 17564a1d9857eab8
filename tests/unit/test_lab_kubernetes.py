"""What the lab adds to the exported configuration of a control plane."""

import yaml

from components.kubernetes import kubeadm
from lab.kubernetes import whole_configuration

EXPORTED = kubeadm.cluster_configuration(["https://10.0.0.11:2379", "https://10.0.0.12:2379"])


def test_the_exported_configuration_stays_and_gets_the_control_planes_settings() -> None:
    cluster, init, kubelet = yaml.safe_load_all(whole_configuration(EXPORTED, "10.0.0.21"))
    assert yaml.safe_load(EXPORTED).items() <= cluster.items()
    assert cluster["controlPlaneEndpoint"] == "10.0.0.21:6443"
    assert cluster["dns"] == cluster["proxy"] == {"disabled": True}
    assert init["localAPIEndpoint"] == {"advertiseAddress": "10.0.0.21"}
    assert kubelet["failCgroupV1"] is False


def test_a_setting_of_the_exported_configuration_is_not_replaced() -> None:
    exported = f"{EXPORTED}kubernetesVersion: v1.34.2\n"
    cluster = next(yaml.safe_load_all(whole_configuration(exported, "10.0.0.21")))
    assert cluster["kubernetesVersion"] == "v1.34.2"
    assert whole_configuration(exported, "10.0.0.21").count("kubernetesVersion") == 1
