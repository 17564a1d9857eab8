"""AwsKey: the operator's ssh key, made here."""

import pulumi

from ..ssh_key import ssh_key


class AwsKey(pulumi.ComponentResource):
    """An Ed25519 key, private half in the state alone. Machines get its public half by cloud-init; AWS is not told.

    Child: `<name>` (PrivateKey).
    """

    private_key: pulumi.Output[str]
    """Private key, OpenSSH format (secret)."""
    public_key: pulumi.Output[str]
    """Its public half, one line."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("external-etcd:index:AwsKey", name, None, opts)
        key = ssh_key(name, "the operator's", self)
        self.private_key = pulumi.Output.secret(key.private_key_openssh)
        self.public_key = key.public_key_openssh.apply(str.strip)
        self.register_outputs({"private_key": self.private_key, "public_key": self.public_key})
