"""Your own Pulumi program: a control plane on AWS by Cluster API, whose etcd is a stack of external-etcd on AWS.

docs/kubernetes.md, "Your own Pulumi program", has the commands that configure it.
"""

import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
etcd = pulumi.StackReference(config.require("etcd"))


def parts(output: str) -> pulumi.Output:
    """The objects in an output of the stack with etcd."""
    return pulumi.Output.json_loads(etcd.require_output(output))


management = pulumi.ResourceOptions(
    provider=kubernetes.Provider("management", kubeconfig=config.require_secret("kubeconfig"))
)

# First: without these Secrets, the control plane never starts.
secrets = [
    kubernetes.core.v1.Secret(
        name, metadata=secret["metadata"], type=secret["type"], data=secret["data"], opts=management
    )
    for name, secret in (
        ("etcd-ca", parts("cluster_api")["items"][0]),
        ("etcd-client", parts("cluster_api")["items"][1]),
    )
]
later = pulumi.ResourceOptions.merge(management, pulumi.ResourceOptions(depends_on=secrets))

control_plane = parts("cluster_api_control_plane")
cluster, template = (parts("cluster_api_infrastructure")["items"][index] for index in (0, 1))
external = control_plane["spec"]["kubeadmConfigSpec"]["clusterConfiguration"]["etcd"]["external"]
by_cloud = [{"name": "cloud-provider", "value": "external"}]
node = {"nodeRegistration": {"name": "{{ ds.meta_data.local_hostname }}", "kubeletExtraArgs": by_cloud}}
INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io"


def reference(kind: str, name: pulumi.Input[str], group: str = INFRASTRUCTURE) -> dict[str, pulumi.Input[str]]:
    """A reference to an object in the same namespace."""
    return {"apiGroup": group, "kind": kind, "name": name}


kubernetes.apiextensions.CustomResource(
    "infrastructure",
    api_version=f"{INFRASTRUCTURE}/v1beta2",
    kind="AWSCluster",
    metadata=cluster["metadata"],
    spec={
        "region": config.require("region"),
        "sshKeyName": config.require("sshKeyName"),
        "controlPlaneLoadBalancer": {"loadBalancerType": "nlb"},
        "network": cluster["spec"]["network"],
    },
    opts=later,
)
kubernetes.apiextensions.CustomResource(
    "machines",
    api_version=f"{INFRASTRUCTURE}/v1beta2",
    kind="AWSMachineTemplate",
    metadata=template["metadata"],
    spec={
        "template": {
            "spec": template["spec"]["template"]["spec"].apply(
                lambda known: {
                    "iamInstanceProfile": "control-plane.cluster-api-provider-aws.sigs.k8s.io",
                    "instanceType": "t3.large",
                    "sshKeyName": config.require("sshKeyName"),
                    **known,
                }
            )
        }
    },
    opts=later,
)
kubernetes.apiextensions.CustomResource(
    "control-plane",
    api_version="controlplane.cluster.x-k8s.io/v1beta2",
    kind="KubeadmControlPlane",
    metadata=control_plane["metadata"],
    spec={
        "replicas": 3,
        "version": config.require("kubernetesVersion"),
        "machineTemplate": {
            "spec": {"infrastructureRef": reference("AWSMachineTemplate", template["metadata"]["name"])}
        },
        "kubeadmConfigSpec": {
            "clusterConfiguration": {
                "etcd": {"external": external},
                "controllerManager": {"extraArgs": by_cloud},
            },
            "initConfiguration": node,
            "joinConfiguration": node,
        },
        # A new time replaces the machines, which then read the Secrets again (docs/kubernetes.md).
        **({"rollout": {"after": after}} if (after := config.get("rolloutAfter")) else {}),
    },
    opts=later,
)
kubernetes.apiextensions.CustomResource(
    "cluster",
    api_version="cluster.x-k8s.io/v1beta2",
    kind="Cluster",
    metadata=cluster["metadata"],
    spec={
        "clusterNetwork": {"pods": {"cidrBlocks": ["192.168.0.0/16"]}},
        "infrastructureRef": reference("AWSCluster", cluster["metadata"]["name"]),
        "controlPlaneRef": reference(
            "KubeadmControlPlane", control_plane["metadata"]["name"], "controlplane.cluster.x-k8s.io"
        ),
    },
    opts=later,
)
