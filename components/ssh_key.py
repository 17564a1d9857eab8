"""Created ssh keys. They are never replaced, because running machines accept no other one."""

import pulumi
import pulumi_tls as tls

from .irreplaceable import irreplaceable


def ssh_key(name: str, of: str, parent: pulumi.Resource) -> tls.PrivateKey:
    """An Ed25519 key. The private half exists only in the state.

    Args:
        of: what the key is, for the message that refuses its replacement: `the operator's`.
    """
    hook = irreplaceable(
        f"{name}-key-in-use",
        lambda resource: (
            f"The ssh key {resource} is {of}: with another one nobody could log in to the running machines any more. "
            "It must not be replaced. Nothing was changed."
        ),
    )
    options = pulumi.ResourceOptions(
        parent=parent, delete_before_replace=False, hooks=pulumi.ResourceHookBinding(before_create=[hook])
    )
    return tls.PrivateKey(name, algorithm="ED25519", opts=options)


class CloudKey(pulumi.ComponentResource):
    """A created ssh key for the operator; a cloud's component may upload it.

    Child: `<name>` (PrivateKey).
    """

    private_key: pulumi.Output[str]
    """Private key, OpenSSH format (secret)."""
    public_key: pulumi.Output[str]
    """Its public half, one line."""

    def __init__(self, type_: str, name: str, opts: pulumi.ResourceOptions | None) -> None:
        super().__init__(f"external-etcd:index:{type_}", name, None, opts)
        key = ssh_key(name, "the operator's", self)
        self.private_key = pulumi.Output.secret(key.private_key_openssh)
        self.public_key = key.public_key_openssh.apply(str.strip)
