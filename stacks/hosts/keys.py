"""The configuration keys of the platform `hosts`."""

from ..key_table import LIST, OBJECT, TEXT, TEXTS, Key
from ..keys import EXTRA_NAMES, open_to_the_world, slot_name, ssh_keys

KEYS: tuple[Key, ...] = (
    Key(
        "machines",
        LIST,
        "1, 3, 5 or 7 existing machines. Changes go through them in this order. Either this or `machinesFile`.",
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
        "Any text. Change it when another machine fills the slot; the member is then converged again.",
        "empty",
    ),
    Key("machines[].dataDirectory", TEXT, "Directory of etcd's data on this machine.", "`dataDirectory`"),
    Key("machines[].extraNames", TEXTS, EXTRA_NAMES, "none"),
    Key("machines[].ssh", OBJECT, "The ssh settings that differ from `ssh`.", required=True),
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
        "Existing machines filter ports 2379, 2380 and 2381, and 2382 if they serve metrics of their own, with their "
        "own nftables table. Members reach all of these; others only as listed here. Ssh and all other ports stay as "
        "they are. Only for the platform `hosts`; on clouds, ports are always filtered.",
        "the ports are left alone",
    ),
    Key("firewall.clients", TEXTS, "Ranges that can reach port 2379: those of the control planes.", required=True),
    Key(
        "firewall.metricsClients",
        TEXTS,
        "Ranges that can reach ports 2381 and 2382, if `metrics` is `private`.",
        "none",
    ),
    open_to_the_world("firewall"),
    Key(
        "migration",
        OBJECT,
        "The migration of a stacked kubeadm cluster to these members, in phases. It must stay, with the phase `done`, "
        "until the CA `kubeadm` is replaced.",
        "none",
    ),
    Key(
        "migration.phase",
        TEXT,
        "`join`, then `switch`, `leave` and `done`, one update each. `join` is also the way back from `switch`, and "
        "`back` from `join`: the members leave the stacked cluster, and their machines are retired.",
        required=True,
    ),
    Key(
        "migration.controlPlanes",
        LIST,
        "All control planes of the cluster, in the order in which their API servers are switched; the CA is read from "
        "the first. Only one that is lost for good can be removed. In the phase `done` they are not needed.",
        "none",
    ),
    Key("migration.controlPlanes[].name", TEXT, "Name of its node, which is that of its etcd member.", required=True),
    Key("migration.controlPlanes[].address", TEXT, "Private IP address of the node.", required=True),
    Key("migration.controlPlanes[].ssh", OBJECT, "The ssh settings that differ from `ssh`.", required=True),
    Key("migration.controlPlanes[].ssh.host", TEXT, "Name or address at which the operator reaches it.", "`address`"),
    Key("migration.controlPlanes[].ssh.hostKey", TEXT, "Its public host key; any other is refused.", required=True),
    *ssh_keys("migration.controlPlanes[].ssh", inherited="the one of `ssh`"),
)
