"""The configuration keys of the platform `hetzner`."""

from components.plan import hetzner as rules

from ..key_table import BOOLEAN, INTEGER, MAP, OBJECT, TEXT, TEXTS, Key
from ..keys import open_to_the_world, protect, slots

KEYS: tuple[Key, ...] = (
    Key("hetzner", OBJECT, "Network and machines on Hetzner Cloud, for the platform `hetzner`."),
    Key("hetzner.location", TEXT, f"Default location of all machines: {', '.join(rules.ZONES)}.", required=True),
    Key("hetzner.serverType", TEXT, "Default server type of all machines, like `cax11`.", required=True),
    Key("hetzner.image", TEXT, "Image, name or ID, with systemd and cloud-init.", rules.DEFAULT_IMAGE),
    Key(
        "hetzner.architecture",
        TEXT,
        "Architecture of the image, `amd64` or `arm64`, if its name does not state it. Server types must match.",
    ),
    *slots("hetzner", "the subnet", "image, server type and location"),
    Key("hetzner.slots[].location", TEXT, "Its location, in the same network zone.", "`hetzner.location`"),
    Key("hetzner.slots[].serverType", TEXT, "Its server type.", "`hetzner.serverType`"),
    Key("hetzner.slots[].image", TEXT, "Its image.", "`hetzner.image`"),
    Key(
        "hetzner.networkRange",
        TEXT,
        "Range of the private network, /24 or larger. It cannot change later.",
        rules.DEFAULT_NETWORK,
    ),
    Key(
        "hetzner.networkId",
        INTEGER,
        "An existing network, in which the subnet is created. It cannot change later.",
        "one is created",
    ),
    Key(
        "hetzner.subnetRange",
        TEXT,
        "Range of the subnet, inside the range of the network, /28 or larger. It cannot change later.",
        rules.DEFAULT_SUBNET,
    ),
    Key(
        "hetzner.operators",
        TEXTS,
        "Ranges from which ssh is allowed: to the machines, or to the created bastion. With an existing "
        "bastion, its private range.",
    ),
    Key("hetzner.clients", TEXTS, "Ranges that can reach port 2379: those of the control planes.", "only the members"),
    Key(
        "hetzner.metricsClients",
        TEXTS,
        "Ranges that can reach ports 2381 and 2382, if `metrics` is `private`.",
        "only the members",
    ),
    open_to_the_world("hetzner"),
    Key("hetzner.publicIpv4", BOOLEAN, "Whether the machines have a public IPv4 address.", "true"),
    Key("hetzner.publicIpv6", BOOLEAN, "Whether the machines have a public IPv6 address.", "false"),
    Key(
        "hetzner.bastion",
        OBJECT,
        "A small server that is created here, through which the machines are reached. Machines without "
        "public addresses reach the internet through it.",
        "none",
    ),
    Key("hetzner.bastion.serverType", TEXT, "Its server type.", "`hetzner.serverType`"),
    Key("hetzner.bastion.image", TEXT, "Its image.", rules.DEFAULT_IMAGE),
    Key("hetzner.bastion.location", TEXT, "Its location.", "`hetzner.location`"),
    Key("hetzner.bastion.address", TEXT, "Its private address.", "the subnet's fifth"),
    Key("hetzner.volume", OBJECT, "A volume per slot for etcd's data.", "the local disk"),
    Key("hetzner.volume.size", INTEGER, "Size of each.", unit="GB", required=True),
    protect("hetzner"),
    Key(
        "hetzner.sshKeys",
        TEXTS,
        "Names of ssh keys in the project, for the creation of servers. With your own key in `ssh` and no"
        " name here, Hetzner mails a root password (which ssh does not accept).",
        "the created key",
    ),
    Key("hetzner.labels", MAP, "More labels on everything. The program sets `etcd`, `cluster` and `member`."),
)
