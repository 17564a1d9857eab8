// Your own Pulumi program in Go: network, machines and cluster on Hetzner Cloud, kubeadm's files as outputs.
//
// In Pulumi.yaml: main: hetzner
//
//	pulumi config set --secret hcloud:token
//	pulumi config set --path 'operators[0]' 203.0.113.7/32    # ranges from which ssh is allowed
package main

import (
	externaletcd "example.com/pulumi-external-etcd/sdk/go/external-etcd"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		var operators []string
		config.New(ctx, "").RequireObject("operators", &operators)
		// To replace a machine, raise its generation; one slot per update.
		generation := 1
		cluster, err := externaletcd.NewHetznerEtcdCluster(ctx, "etcd", &externaletcd.HetznerEtcdClusterArgs{
			Location:   "nbg1",
			ServerType: "cx23",
			Slots: []externaletcd.HetznerClusterSlotArgs{
				{Name: "etcd-1", Generation: &generation},
				{Name: "etcd-2", Generation: &generation},
				{Name: "etcd-3", Generation: &generation},
			},
			Operators: operators,
			// The control planes.
			Clients: []string{"10.1.2.0/24"},
			// Machines without public addresses, behind a small server with one.
			PublicIpv4: pulumi.BoolRef(false),
			Bastion:    &externaletcd.HetznerClusterBastionArgs{},
			// Reads the output `applied` of the last update, so that preview refuses an unsafe change.
			PreviousOutput: pulumi.StringRef("applied"),
		})
		if err != nil {
			return err
		}
		ctx.Export("endpoints", cluster.Endpoints)
		ctx.Export("kubeadm", cluster.Kubeadm)
		ctx.Export("kubeadm_files", cluster.KubeadmFiles)
		ctx.Export("bastion", cluster.Bastion)
		ctx.Export("applied", cluster.Applied)
		return nil
	})
}
