"""AwsKey: the operator's ssh key, made here."""

import pulumi

from ..ssh_key import CloudKey


class AwsKey(CloudKey):
    """An Ed25519 key, private half in the state alone. Machines get its public half by cloud-init; AWS is not told.

    Child: `<name>` (PrivateKey).
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("AwsKey", name, opts)
        self.register_outputs({"private_key": self.private_key, "public_key": self.public_key})
