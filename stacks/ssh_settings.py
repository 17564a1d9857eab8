"""The ssh settings of a configuration: for existing machines, for a bastion, and for the operator on a cloud."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from components import Bastion, Ssh
from components.machine import login, with_login
from components.plan.cloud import DEFAULT_USER
from components.plan.errors import shown
from components.plan.ssh import check_public_key, check_way

from .arguments import camel_case
from .reading import Reading
from .ssh_keys import check_private_key, has_passphrase, public_key, read_private_key

_LOGIN = ("privateKeyFile", "privateKeyPassphrase", "agent")


@dataclass(frozen=True)
class SshLogin:
    """How to log in to one machine."""

    host: str
    host_key: str
    private_key: str = field(repr=False)
    """Empty: in the ssh agent."""
    user: str = "root"
    port: int = 22
    passphrase: str = field(default="", repr=False)
    """Passphrase of the private key; empty: none."""
    sftp: bool | None = None
    """Whether etcd-node is copied to the machine by sftp; None: the login is asked."""
    bastion: "SshLogin | None" = None

    @property
    def to_bastion(self) -> Bastion:
        """The login of a bastion, for the components."""
        way: Bastion = {"host": self.host, "port": self.port, "user": self.user, "host_key": self.host_key}
        return with_login(way, login(self.private_key or None, self.passphrase or None))

    @property
    def to_machine(self) -> Ssh:
        """The login of a machine, for the components."""
        given = {} if self.sftp is None else {"sftp": self.sftp}
        behind = {} if self.bastion is None else {"bastion": self.bastion.to_bastion}
        return cast(Ssh, {**self.to_bastion, **given, **behind})


@dataclass(frozen=True)
class Operator:
    """The operator of machines on a cloud."""

    user: str
    public_key: str = ""
    """The operator's own; empty: a key is created."""
    private_key: str = field(default="", repr=False)
    """Empty: it is created too, or in an ssh agent."""
    passphrase: str = field(default="", repr=False)
    """Passphrase of the private key; empty: none."""
    bastion: SshLogin | None = None
    """An existing bastion."""


class SshSettings:
    """Reads the logins; notes what is wrong with their common defaults, the object `ssh`."""

    def __init__(self, reading: Reading) -> None:
        self._reading, self._given = reading, reading.given
        self._defaults: Mapping[str, Any] = self._given.get("ssh", {})
        self._key_files: dict[tuple[Path, str], str] = {}
        self._reading.problems += check_way(self._defaults, "ssh", camel_case)
        self._check_shared_key()

    def operator(self) -> Operator:
        """The operator's own key for machines on a cloud, and an existing bastion."""
        defaults, reading = self._defaults, self._reading
        own = "privateKeyFile" in defaults or "sshPrivateKey" in self._given
        private, passphrase = self._login(defaults, "ssh") if own else ("", "")
        public = public_key(private) if private else self._public_key()
        if private and public is None:
            key = "ssh.privateKeyFile" if "privateKeyFile" in defaults else "sshPrivateKey"
            rule = "The operator's key for created machines must be in OpenSSH format, which contains the public half"
            reading.refuse(key, "a key in another format", rule, "Convert a copy with: ssh-keygen -p -f COPY")
        if "port" in defaults:
            rule = "Created machines have sshd on port 22"
            reading.refuse("ssh.port", shown(defaults["port"]), rule, "Remove it")
        if not defaults.get("sftp", True):
            rule = "etcd-node reaches created machines only by sftp, so the sshd of their image must serve it"
            reading.refuse("ssh.sftp", "false", rule, "Remove it, and choose an image with sftp, such as Debian's own")
        return Operator(defaults.get("user", DEFAULT_USER), public or "", private, passphrase, self._existing_bastion())

    def login_of(self, machine: Mapping[str, Any], at: str) -> SshLogin:
        """The login of an existing machine.

        Args:
            machine: its object in the configuration.
            at: the key of that object.
        """
        own = machine.get("ssh", {})
        self._reading.problems += check_way(own, f"{at}.ssh", camel_case)
        way = _merged(self._defaults, own)
        private, passphrase = self._login(way, f"{at}.ssh" if "privateKeyFile" in own or "agent" in own else "ssh")
        bastion = None
        if "bastion" in way:
            to_bastion = _merged({name: way[name] for name in _LOGIN if name in way}, way["bastion"])
            key = self._login(to_bastion, f"{at}.ssh.bastion" if "bastion" in own else "ssh.bastion")
            bastion = _ssh_login(way["bastion"], way["bastion"].get("host", ""), *key)
        # The object `ssh` has no host and no host key, so these are always the machine's own.
        return _ssh_login(way, own.get("host", machine.get("address", "")), private, passphrase, bastion)

    def _existing_bastion(self) -> SshLogin | None:
        """An existing bastion, for machines on a cloud."""
        given = self._defaults.get("bastion")
        if given is None:
            return None
        way = _merged({name: self._defaults[name] for name in _LOGIN if name in self._defaults}, given)
        key = ("", "")
        if way.get("agent") or "privateKeyFile" in way or "sshPrivateKey" in self._given:
            own = "privateKeyFile" in given or "agent" in given
            key = self._login(way, "ssh.bastion" if own else "ssh")
        else:
            rule = "An existing bastion needs a key that it accepts"
            remedy = "Set it, or ssh.privateKeyFile for all hosts"
            self._reading.refuse("ssh.bastion.privateKeyFile", "nothing", rule, remedy)
        return _ssh_login(given, given.get("host", ""), *key)

    def _public_key(self) -> str:
        """The public half of the operator's key in an ssh agent; empty without one."""
        given: str = self._defaults.get("publicKey", "").strip()
        if not self._defaults.get("agent"):
            if given:
                rule = "Only a key in an ssh agent needs its public half"
                self._reading.refuse("ssh.publicKey", shown(given), rule, "Remove it, or set ssh.agent to true")
            return ""
        if not given:
            rule = "Created machines need the public half of the operator's key in the ssh agent"
            self._reading.refuse("ssh.publicKey", "nothing", rule, "Set it to the key's line of: ssh-add -L")
        else:
            self._reading.problems += check_public_key(given, "ssh.publicKey")
        return given

    def _check_shared_key(self) -> None:
        defaults, reading = self._defaults, self._reading
        if "sshPrivateKey" not in self._given:
            return
        passphrase = defaults.get("privateKeyPassphrase", "")
        reading.problems += check_private_key(self._given["sshPrivateKey"], "sshPrivateKey", passphrase)
        if defaults.get("agent"):
            rule = "The key for all machines must be in sshPrivateKey or in the agent, not both"
            reading.refuse("ssh.agent", "true", rule, "Remove one of the two")
        if "privateKeyFile" in defaults:
            rule = "The key for all machines must be in sshPrivateKey or in ssh.privateKeyFile, not both"
            reading.refuse("ssh.privateKeyFile", shown(defaults["privateKeyFile"]), rule, "Remove one of the two")

    def _login(self, way: Mapping[str, Any], at: str) -> tuple[str, str]:
        """The private key of a login and its passphrase; both empty if it is in the ssh agent."""
        if way.get("agent"):
            if "privateKeyFile" in way:
                rule = "A private key must be in a file or in the agent, not both"
                self._reading.refuse(f"{at}.agent", "true", rule, "Remove it, or privateKeyFile")
            return "", ""
        passphrase = way.get("privateKeyPassphrase", "")
        key = self._private_key(way, at, passphrase)
        return key, passphrase if has_passphrase(key) else ""

    def _private_key(self, way: Mapping[str, Any], at: str, passphrase: str) -> str:
        file, reading = way.get("privateKeyFile"), self._reading
        if file is None:
            shared: str | None = self._given.get("sshPrivateKey")
            if shared is None and not reading.refused("ssh.privateKeyFile", "sshPrivateKey"):
                rule = "Each machine needs a private ssh key"
                remedy = "Set it, or sshPrivateKey, or the key of each machine"
                reading.refuse("ssh.privateKeyFile", "nothing", rule, remedy)
            return shared or ""
        path = reading.path(file)
        if (path, passphrase) not in self._key_files:
            # Read once, even if many machines share the file.
            text, found = read_private_key(path, file, f"{at}.privateKeyFile", passphrase)
            self._key_files[path, passphrase] = text
            reading.problems += found
        return self._key_files[path, passphrase]


def _ssh_login(
    given: Mapping[str, Any], host: str, private_key: str, passphrase: str, bastion: SshLogin | None = None
) -> SshLogin:
    return SshLogin(
        host=host,
        host_key=given.get("hostKey", "").strip(),
        private_key=private_key,
        user=given.get("user", "root"),
        port=given.get("port", 22),
        passphrase=passphrase,
        sftp=given.get("sftp"),
        bastion=bastion,
    )


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A login with its defaults. An own key does not inherit the default's agent and passphrase."""
    inherited = dict(defaults)
    if own.get("agent"):
        inherited.pop("privateKeyFile", None)
    if "privateKeyFile" in own:
        for name in ("agent", "privateKeyPassphrase"):
            inherited.pop(name, None)
    return {**inherited, **own}
