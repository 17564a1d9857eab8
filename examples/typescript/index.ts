// Your own Pulumi program in TypeScript: existing machines from its configuration, kubeadm's files as outputs.
//
// pulumi config set --path 'machines[0].name' etcd-1
// pulumi config set --path 'machines[0].address' 10.0.0.11
// pulumi config set --path 'machines[0].host_key' "$(ssh-keyscan -qt ed25519 10.0.0.11 | cut -d' ' -f2-)"
// ...
// pulumi config set --secret ssh_key < ~/.ssh/id_ed25519

import * as pulumi from "@pulumi/pulumi";
import { EtcdCluster, EtcdClusterArgs } from "@pulumi/external-etcd";

interface MachineConfig {
    name: string;
    address: string;
    host_key: string;
}

const config = new pulumi.Config();

const cluster = new EtcdCluster("etcd", {
    members: config.requireObject<MachineConfig[]>("machines").map((machine) => ({
        name: machine.name,
        address: machine.address,
        ssh: {
            host: machine.address,
            hostKey: machine.host_key,
            user: config.get("ssh_user") ?? "root",
            privateKey: config.requireSecret("ssh_key"),
        },
    })),
    version: config.get("version") ?? "3.6.16",
    flags: { "max-request-bytes": "3145728" },
    // Reads the output `applied` of the last update, so that preview refuses an unsafe change.
    previousOutput: "applied",
    ...config.getObject<Partial<EtcdClusterArgs>>("cluster"),
});

export const endpoints = cluster.endpoints;
export const kubeadm = cluster.kubeadm;
export const kubeadm_files = cluster.kubeadmFiles;
export const applied = cluster.applied;
