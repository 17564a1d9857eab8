// Your own Pulumi program in TypeScript: network, machines and cluster on AWS, kubeadm's files as outputs.
//
// In Pulumi.yaml: main: aws.ts
// pulumi config set aws:region eu-central-1
// pulumi config set --path 'operators[0]' 203.0.113.7/32    # ranges from which ssh is allowed

import * as pulumi from "@pulumi/pulumi";
import { AwsEtcdCluster } from "@pulumi/external-etcd";

const config = new pulumi.Config();
const region = new pulumi.Config("aws").require("region");

const cluster = new AwsEtcdCluster("etcd", {
    zones: ["a", "b", "c"].map((zone) => region + zone),
    instanceType: "t3.medium",
    // Another image than the newest Debian, by its ID.
    ami: config.get("ami"),
    // To replace a machine, raise its generation; one slot per update.
    slots: [
        { name: "etcd-1", generation: 1 },
        { name: "etcd-2", generation: 1 },
        { name: "etcd-3", generation: 1 },
    ],
    operators: config.requireObject<string[]>("operators"),
    // An encrypted volume per slot, which outlives its machine. Before `pulumi destroy`: protect: false, pulumi up.
    volume: { size: 20 },
    // Reads the output `applied` of the last update, so that preview refuses an unsafe change.
    previousOutput: "applied",
});

export const endpoints = cluster.endpoints;
export const kubeadm = cluster.kubeadm;
export const kubeadm_files = cluster.kubeadmFiles;
// The machines of your control plane carry this group.
export const clients_security_group = cluster.clientsSecurityGroupId;
export const applied = cluster.applied;
