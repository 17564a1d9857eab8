"""The configuration keys of the platform `hosts`."""

from ..keys import EXTRA_NAMES, open_to_the_world, slot_name, ssh_keys
from ..table import LIST, OBJECT, TEXT, TEXTS, Key

KEYS: tuple[Key, ...] = (
    Key(
        "machines",
        LIST,
        "The machines that exist, 1, 3, 5 or 7, in the order in which changes go through them. Either this or "
        "`machinesFile`.",
    ),
    slot_name("machines"),
    Key(
        "machines[].address",
        TEXT,
        "Private IP address at which the other members and the API servers reach it.",
        required=True,
    ),
    Key(
        "machines[].identity",
        TEXT,
        "Anything that changes when another machine fills the slot; it is converged anew then.",
        "empty",
    ),
    Key("machines[].dataDirectory", TEXT, "Directory of etcd's data on this machine.", "`dataDirectory`"),
    Key("machines[].extraNames", TEXTS, EXTRA_NAMES, "none"),
    Key("machines[].ssh", OBJECT, "The way in, as far as it differs from `ssh`.", required=True),
    Key("machines[].ssh.host", TEXT, "Name or address at which the operator reaches it.", "`address`"),
    Key(
        "machines[].ssh.hostKey",
        TEXT,
        "Its public host key, like `ssh-ed25519 AAAA...`; any other is refused.",
        required=True,
    ),
    *ssh_keys("machines[].ssh", inherited="the one of `ssh`"),
    Key(
        "machinesFile",
        TEXT,
        'JSON file `{"machines": [...]}` with the same objects as `machines`, relative to the project\'s directory.',
    ),
    Key(
        "firewall",
        OBJECT,
        "Has machines that exist filter their ports 2379, 2380 and 2381 themselves, by an nftables table of their own: "
        "members reach all three, and who is named here. Ssh and all other ports stay as they are. For the platform "
        "`hosts`; on the clouds ports are always filtered.",
        "the ports are left alone",
    ),
    Key("firewall.clients", TEXTS, "Ranges that may reach port 2379: those of the control planes.", required=True),
    Key("firewall.metricsClients", TEXTS, "Ranges that may reach port 2381, when `metrics` is `private`.", "none"),
    open_to_the_world("firewall"),
)
