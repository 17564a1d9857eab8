// Your own Pulumi program in Go: existing machines from its configuration, kubeadm's files as outputs.
//
//	pulumi config set --path 'machines[0].name' etcd-1
//	pulumi config set --path 'machines[0].address' 10.0.0.11
//	pulumi config set --path 'machines[0].host_key' "$(ssh-keyscan -qt ed25519 10.0.0.11 | cut -d' ' -f2-)"
//	...
//	pulumi config set --secret ssh_key < ~/.ssh/id_ed25519
package main

import (
	externaletcd "example.com/pulumi-external-etcd/sdk/go/external-etcd"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
)

type machine struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	HostKey string `json:"host_key"`
}

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		settings := config.New(ctx, "")
		var machines []machine
		settings.RequireObject("machines", &machines)
		user := settings.Get("ssh_user")
		if user == "" {
			user = "root"
		}
		members := []externaletcd.MachineArgs{}
		for _, each := range machines {
			members = append(members, externaletcd.MachineArgs{
				Name:    each.Name,
				Address: each.Address,
				Ssh: externaletcd.SshArgs{
					Host:       pulumi.String(each.Address),
					HostKey:    pulumi.String(each.HostKey),
					User:       &user,
					PrivateKey: settings.RequireSecret("ssh_key"),
				},
			})
		}
		cluster, err := externaletcd.NewEtcdCluster(ctx, "etcd", &externaletcd.EtcdClusterArgs{
			Members: members,
			Version: pulumi.StringRef("3.6.16"),
			Flags:   map[string]string{"max-request-bytes": "3145728"},
			// Reads the output `applied` of the last update, so that preview refuses an unsafe change.
			PreviousOutput: pulumi.StringRef("applied"),
		})
		if err != nil {
			return err
		}
		ctx.Export("endpoints", cluster.Endpoints)
		ctx.Export("kubeadm", cluster.Kubeadm)
		ctx.Export("kubeadm_files", cluster.KubeadmFiles)
		ctx.Export("applied", cluster.Applied)
		return nil
	})
}
