"""AwsKey: a created ssh key for the operator."""

import pulumi

from ..ssh_key import CloudKey


class AwsKey(CloudKey):
    """An Ed25519 key. The private half exists only in the state. The public half reaches machines by cloud-init.

    Child: `<name>` (PrivateKey).
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("AwsKey", name, opts)
        self.register_outputs({"private_key": self.private_key, "public_key": self.public_key})
