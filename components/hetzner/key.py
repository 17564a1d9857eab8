"""HetznerKey: the operator's ssh key, made here and known to the project."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_hcloud as hcloud

from ..ssh_key import ssh_key


class HetznerKeyArgs(TypedDict):
    """Arguments of `HetznerKey`."""

    cluster_name: str
    """Name of the cluster, and of the key in the project."""
    labels: NotRequired[dict[str, str]]
    """Further labels. Default: none."""


class HetznerKey(pulumi.ComponentResource):
    """An Ed25519 key, private half in the state alone.

    Children, both named `<name>`: `PrivateKey` and `SshKey`.
    """

    private_key: pulumi.Output[str]
    """Private key, OpenSSH format (secret)."""
    public_key: pulumi.Output[str]
    """Its public half, one line."""
    key_id: pulumi.Output[str]
    """ID of the key in the project."""

    def __init__(self, name: str, args: HetznerKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:HetznerKey", name, None, opts)
        key = ssh_key(name, "the operator's", self)
        uploaded = hcloud.SshKey(
            name,
            name=args["cluster_name"],
            public_key=key.public_key_openssh.apply(str.strip),
            labels={**args.get("labels", {}), "etcd": "true", "cluster": args["cluster_name"]},
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.private_key = pulumi.Output.secret(key.private_key_openssh)
        self.public_key = key.public_key_openssh.apply(str.strip)
        self.key_id = uploaded.id
        self.register_outputs({"private_key": self.private_key, "public_key": self.public_key, "key_id": self.key_id})
