"""HetznerKey: a created ssh key for the operator, uploaded to the project."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_hcloud as hcloud

from ..ssh_key import CloudKey


class HetznerKeyArgs(TypedDict):
    """Arguments of `HetznerKey`."""

    cluster_name: str
    """Name of the cluster, and of the key in the project."""
    labels: NotRequired[dict[str, str]]
    """More labels. Default: none."""


class HetznerKey(CloudKey):
    """An Ed25519 key. The private half exists only in the state.

    Children, both named `<name>`: `PrivateKey` and `SshKey`.
    """

    key_id: pulumi.Output[str]
    """ID of the key in the project."""

    def __init__(self, name: str, args: HetznerKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("HetznerKey", name, opts)
        uploaded = hcloud.SshKey(
            name,
            name=args["cluster_name"],
            public_key=self.public_key,
            labels={**args.get("labels", {}), "etcd": "true", "cluster": args["cluster_name"]},
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.key_id = uploaded.id
        self.register_outputs({"private_key": self.private_key, "public_key": self.public_key, "key_id": self.key_id})
