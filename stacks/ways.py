"""The ways in that a configuration describes: to machines that exist, to a bastion, and of the operator of a cloud."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from components import Bastion, Ssh
from components.machine import login, with_login
from components.plan.cloud import DEFAULT_USER
from components.plan.errors import shown

from .reading import Reading
from .ssh import (
    check_host_key,
    check_private_key,
    check_public_key,
    has_passphrase,
    is_host,
    public_key,
    read_private_key,
)

_LOGIN = ("privateKeyFile", "privateKeyPassphrase", "agent")


@dataclass(frozen=True)
class Way:
    """The way to one machine."""

    host: str
    host_key: str
    private_key: str = field(repr=False)
    """Empty: in the ssh agent."""
    user: str = "root"
    port: int = 22
    passphrase: str = field(default="", repr=False)
    """Of the private key; empty: it has none."""
    sftp: bool = True
    """Whether the program is copied to the machine by sftp."""
    bastion: "Way | None" = None

    @property
    def to_bastion(self) -> Bastion:
        """As the components want the way to a bastion."""
        way: Bastion = {"host": self.host, "port": self.port, "user": self.user, "host_key": self.host_key}
        return with_login(way, login(self.private_key or None, self.passphrase or None))

    @property
    def to_machine(self) -> Ssh:
        """As the components want the way to a machine."""
        behind = {} if self.bastion is None else {"bastion": self.bastion.to_bastion}
        return cast(Ssh, {**self.to_bastion, "sftp": self.sftp, **behind})


@dataclass(frozen=True)
class Operator:
    """Who logs in to machines that a cloud makes."""

    user: str
    public_key: str = ""
    """The operator's own; empty: one is made."""
    private_key: str = field(default="", repr=False)
    """Empty: it is made too, or in an agent."""
    passphrase: str = field(default="", repr=False)
    """Of the private key; empty: it has none."""
    bastion: Way | None = None
    """The bastion that exists."""


class Ways:
    """Reads them, and notes what is wrong with what holds for all of them, the object `ssh`."""

    def __init__(self, reading: Reading) -> None:
        self._reading, self._given = reading, reading.given
        self._defaults: Mapping[str, Any] = self._given.get("ssh", {})
        self._key_files: dict[tuple[Path, str], str] = {}
        self._check(self._defaults, "ssh")
        self._check_shared_key()

    def operator(self) -> Operator:
        """The operator's own key for machines that a cloud makes, and the bastion that exists."""
        defaults, reading = self._defaults, self._reading
        own = "privateKeyFile" in defaults or "sshPrivateKey" in self._given
        private, passphrase = self._login(defaults, "ssh") if own else ("", "")
        public = public_key(private) if private else self._public_key()
        if private and public is None:
            key = "ssh.privateKeyFile" if "privateKeyFile" in defaults else "sshPrivateKey"
            rule = "The operator's key for machines that are made is in OpenSSH format, which holds its public half"
            reading.refuse(key, "a key in another format", rule, "Convert a copy with: ssh-keygen -p -f COPY")
        if "port" in defaults:
            rule = "Machines that are made here have sshd at port 22"
            reading.refuse("ssh.port", shown(defaults["port"]), rule, "Remove it")
        if not defaults.get("sftp", True):
            reading.refuse("ssh.sftp", "false", "Machines that are made here have sftp", "Remove it")
        return Operator(defaults.get("user", DEFAULT_USER), public or "", private, passphrase, self._existing_bastion())

    def to(self, machine: Mapping[str, Any], at: str) -> Way:
        """The way to a machine that exists.

        Args:
            machine: its object.
            at: the key of that.
        """
        own = machine.get("ssh", {})
        self._check(own, f"{at}.ssh")
        way = _merged(self._defaults, own)
        private, passphrase = self._login(way, f"{at}.ssh" if "privateKeyFile" in own or "agent" in own else "ssh")
        bastion = None
        if "bastion" in way:
            to_bastion = _merged({name: way[name] for name in _LOGIN if name in way}, way["bastion"])
            key = self._login(to_bastion, f"{at}.ssh.bastion" if "bastion" in own else "ssh.bastion")
            bastion = _way(way["bastion"], way["bastion"].get("host", ""), *key)
        # The object `ssh` has no host and no host key, so that these are the machine's own.
        return _way(way, own.get("host", machine.get("address", "")), private, passphrase, bastion)

    def _existing_bastion(self) -> Way | None:
        """A bastion that exists, for machines that a cloud makes."""
        given = self._defaults.get("bastion")
        if given is None:
            return None
        way = _merged({name: self._defaults[name] for name in _LOGIN if name in self._defaults}, given)
        key = ("", "")
        if way.get("agent") or "privateKeyFile" in way or "sshPrivateKey" in self._given:
            own = "privateKeyFile" in given or "agent" in given
            key = self._login(way, "ssh.bastion" if own else "ssh")
        else:
            rule = "A bastion that exists is reached with a key that it knows"
            remedy = "Set it, or ssh.privateKeyFile for all"
            self._reading.refuse("ssh.bastion.privateKeyFile", "nothing", rule, remedy)
        return _way(given, given.get("host", ""), *key)

    def _public_key(self) -> str:
        """The public half of the operator's key in an agent; empty without one."""
        given: str = self._defaults.get("publicKey", "").strip()
        if not self._defaults.get("agent"):
            if given:
                rule = "The public half of a key that is not in an agent is in the key, or made with it"
                self._reading.refuse("ssh.publicKey", shown(given), rule, "Remove it, or set ssh.agent to true")
            return ""
        if not given:
            rule = "Machines that are made here are told the public half of the operator's key in the agent"
            self._reading.refuse("ssh.publicKey", "nothing", rule, "Set it to its line of: ssh-add -L")
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
            rule = "The key for all machines is in sshPrivateKey or in the agent"
            reading.refuse("ssh.agent", "true", rule, "Remove one of the two")
        if "privateKeyFile" in defaults:
            rule = "The key for all machines is in sshPrivateKey or in ssh.privateKeyFile"
            reading.refuse("ssh.privateKeyFile", shown(defaults["privateKeyFile"]), rule, "Remove one of the two")

    def _login(self, way: Mapping[str, Any], at: str) -> tuple[str, str]:
        """The private key of a way in and its passphrase; both empty where it is in the agent."""
        if way.get("agent"):
            if "privateKeyFile" in way:
                rule = "A private key is in a file or in the agent"
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
                rule = "Each machine is reached with a private ssh key"
                remedy = "Set it, or sshPrivateKey, or that of each machine"
                reading.refuse("ssh.privateKeyFile", "nothing", rule, remedy)
            return shared or ""
        path = reading.path(file)
        if (path, passphrase) not in self._key_files:
            # Once, however many machines share the file.
            text, found = read_private_key(path, file, f"{at}.privateKeyFile", passphrase)
            self._key_files[path, passphrase] = text
            reading.problems += found
        return self._key_files[path, passphrase]

    def _check(self, way: Mapping[str, Any], at: str) -> None:
        """Checks what is given at one place about a way in."""
        refuse = self._reading.refuse
        if "host" in way and not is_host(way["host"]):
            rule = "A host is a name or an IP address, without port or brackets"
            refuse(f"{at}.host", shown(way["host"]), rule, "Give the port as port")
        if "user" in way and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", way["user"], re.ASCII):
            refuse(f"{at}.user", shown(way["user"]), "A login is a user's name", "Give root, or one with sudo")
        if "port" in way and not 1 <= way["port"] <= 65535:
            refuse(f"{at}.port", shown(way["port"]), "A TCP port is 1 to 65535", "Leave it out for 22")
        if "hostKey" in way:
            self._reading.problems += check_host_key(way["hostKey"], f"{at}.hostKey")
        if "bastion" in way:
            self._check(way["bastion"], f"{at}.bastion")


def _way(given: Mapping[str, Any], host: str, private_key: str, passphrase: str, bastion: Way | None = None) -> Way:
    return Way(
        host=host,
        host_key=given.get("hostKey", "").strip(),
        private_key=private_key,
        user=given.get("user", "root"),
        port=given.get("port", 22),
        passphrase=passphrase,
        sftp=given.get("sftp", True),
        bastion=bastion,
    )


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A way in with what it does not say itself; a key of its own is not the default's, and has another passphrase."""
    inherited = dict(defaults)
    if own.get("agent"):
        inherited.pop("privateKeyFile", None)
    if "privateKeyFile" in own:
        for name in ("agent", "privateKeyPassphrase"):
            inherited.pop(name, None)
    return {**inherited, **own}
