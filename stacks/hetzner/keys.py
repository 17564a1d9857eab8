"""The configuration keys of the platform `hetzner`."""

from components.plan import hetzner as rules

from ..keys import open_to_the_world, protect, slots
from ..table import BOOLEAN, INTEGER, MAP, OBJECT, TEXT, TEXTS, Key

KEYS: tuple[Key, ...] = (
    Key("hetzner", OBJECT, "Network and machines on Hetzner Cloud, for the platform `hetzner`."),
    Key(
        "hetzner.location",
        TEXT,
        f"Location of all machines that do not say otherwise: {', '.join(rules.ZONES)}.",
        required=True,
    ),
    Key(
        "hetzner.serverType",
        TEXT,
        "Server type of all machines that do not say otherwise, like `cax11`.",
        required=True,
    ),
    Key("hetzner.image", TEXT, "Image, name or ID, with systemd and cloud-init.", rules.DEFAULT_IMAGE),
    Key(
        "hetzner.architecture",
        TEXT,
        "Architecture of the image, `amd64` or `arm64`, where its name does not say it; server types must fit.",
    ),
    *slots("hetzner"),
    Key(
        "hetzner.slots[].address",
        TEXT,
        "Private address in the subnet, stable for the life of the slot.",
        "the subnet's tenth plus the number at the name's end",
    ),
    Key(
        "hetzner.slots[].generation",
        INTEGER,
        "Raise it to have this slot's machine replaced by one with the present image, server type and location; of one "
        "slot per update.",
        "1",
    ),
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
        "A network that exists, in which the subnet is made. It cannot change later.",
        "one is made",
    ),
    Key(
        "hetzner.subnetRange",
        TEXT,
        "Range of the subnet, inside that of the network, /28 or larger. It cannot change later.",
        rules.DEFAULT_SUBNET,
    ),
    Key(
        "hetzner.operators",
        TEXTS,
        "Ranges from which ssh comes: to the machines, or to the bastion that is made. With a bastion that exists, its "
        "private range.",
    ),
    Key("hetzner.clients", TEXTS, "Ranges that may reach port 2379: those of the control planes.", "the members alone"),
    Key(
        "hetzner.metricsClients",
        TEXTS,
        "Ranges that may reach port 2381, when `metrics` is `private`.",
        "the members alone",
    ),
    open_to_the_world("hetzner"),
    Key("hetzner.publicIpv4", BOOLEAN, "Whether the machines have a public IPv4 address.", "true"),
    Key("hetzner.publicIpv6", BOOLEAN, "Whether the machines have a public IPv6 address.", "false"),
    Key(
        "hetzner.bastion",
        OBJECT,
        "A small server, made here, through which the machines are reached and, without public addresses of their own, "
        "reach the internet.",
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
        "Names of ssh keys in the project that Hetzner is told of when it makes a server; with a key of one's own in "
        "`ssh`, without any Hetzner mails a root password (that ssh does not accept).",
        "the key that is made",
    ),
    Key("hetzner.labels", MAP, "Further labels on everything; `etcd`, `cluster` and `member` are set."),
)
