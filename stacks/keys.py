"""Every configuration key of the program: the one table that parser, documentation and tests read."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.plan import DEFAULT_MIRROR, DEFAULT_VERSION, aws_types
from components.plan import aws as aws_rules
from components.plan import hetzner as hetzner_rules

TEXT, INTEGER, BOOLEAN, TEXTS = "text", "integer", "true or false", "list of texts"
OBJECT, LIST, MAP = "object", "list of objects", "map of texts"


@dataclass(frozen=True)
class Key:
    """One key."""

    path: str
    """Where it is: `machines[].ssh.host`."""
    type: str
    """`text`, `integer`, `true or false`, `list of texts`, `object`, `list of objects` or `map of texts`."""
    meaning: str
    """What it is for; whole sentences, Markdown."""
    default: str = ""
    """What holds without it, as the documentation says it; empty: there is no value then."""
    unit: str = ""
    """Unit of a number; empty: none."""
    required: bool = False
    """Whether the object that it belongs to cannot be without it."""
    secret: bool = False
    """Whether its value must never be shown."""


_EXTRA_NAMES = "DNS names and IP addresses that its server and peer certificates have beside its own."


def _ssh(prefix: str) -> tuple[Key, ...]:
    """What both the defaults and a machine may say about the way in."""
    inherits = "the one of `ssh`" if prefix.startswith("machines") else ""
    return (
        Key(f"{prefix}.user", TEXT, "Login: `root`, or a user with password-less sudo.", inherits or "root"),
        Key(f"{prefix}.port", INTEGER, "TCP port of sshd.", inherits or "22"),
        Key(
            f"{prefix}.privateKeyFile",
            TEXT,
            "File with the private ssh key, relative to the project's directory, `~` allowed; readable by its owner "
            "alone.",
            inherits or "`sshPrivateKey`",
        ),
        Key(
            f"{prefix}.privateKeyPassphrase",
            TEXT,
            "Passphrase of the private key: `pulumi config set --path --secret ssh.privateKeyPassphrase`.",
            inherits,
            secret=True,
        ),
        Key(
            f"{prefix}.agent",
            BOOLEAN,
            "Whether the private key is in the ssh agent of whoever runs Pulumi (`SSH_AUTH_SOCK`), and not given here.",
            inherits or "false",
        ),
        Key(
            f"{prefix}.sftp",
            BOOLEAN,
            "Whether `etcd-node` is copied to the machine by sftp; else it goes through Pulumi's state, which grows by "
            "a third of a megabyte per member.",
            inherits or "true",
        ),
        Key(f"{prefix}.bastion", OBJECT, "Host through which the machines are reached.", inherits or "none"),
        Key(f"{prefix}.bastion.host", TEXT, "Name or address of the bastion.", required=True),
        Key(f"{prefix}.bastion.hostKey", TEXT, "Its public host key; any other is refused.", required=True),
        Key(f"{prefix}.bastion.user", TEXT, "Login on the bastion.", "root"),
        Key(f"{prefix}.bastion.port", INTEGER, "TCP port of its sshd.", "22"),
        Key(f"{prefix}.bastion.privateKeyFile", TEXT, "File with the key for the bastion.", "the machine's key"),
        Key(
            f"{prefix}.bastion.privateKeyPassphrase",
            TEXT,
            "Passphrase of the key for the bastion.",
            "the machine's",
            secret=True,
        ),
        Key(
            f"{prefix}.bastion.agent",
            BOOLEAN,
            "Whether the key for the bastion is in the ssh agent.",
            "as for the machine",
        ),
    )


_HETZNER: tuple[Key, ...] = (
    Key("hetzner", OBJECT, "Network and machines on Hetzner Cloud, for the platform `hetzner`."),
    Key(
        "hetzner.location",
        TEXT,
        f"Location of all machines that do not say otherwise: {', '.join(hetzner_rules.ZONES)}.",
        required=True,
    ),
    Key(
        "hetzner.serverType",
        TEXT,
        "Server type of all machines that do not say otherwise, like `cax11`.",
        required=True,
    ),
    Key("hetzner.image", TEXT, "Image, name or ID, with systemd and cloud-init.", hetzner_rules.DEFAULT_IMAGE),
    Key(
        "hetzner.architecture",
        TEXT,
        "Architecture of the image, `amd64` or `arm64`, where its name does not say it; server types must fit.",
    ),
    Key(
        "hetzner.slots",
        LIST,
        "The slots, 1, 3, 5 or 7, in the order in which changes go through them.",
        required=True,
    ),
    Key(
        "hetzner.slots[].name",
        TEXT,
        "Name of the slot and of its member, a DNS label, stable for the life of the slot.",
        required=True,
    ),
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
    Key("hetzner.slots[].extraNames", TEXTS, _EXTRA_NAMES, "none"),
    Key(
        "hetzner.networkRange",
        TEXT,
        "Range of the private network, /24 or larger. It cannot change later.",
        hetzner_rules.DEFAULT_NETWORK,
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
        hetzner_rules.DEFAULT_SUBNET,
    ),
    Key(
        "hetzner.operators",
        TEXTS,
        "Ranges from which ssh comes: to the machines, or to the bastion that is made. With a bastion that exists, its "
        "private range.",
    ),
    Key(
        "hetzner.clients",
        TEXTS,
        "Ranges that may reach port 2379: those of the control planes.",
        "the members alone",
    ),
    Key(
        "hetzner.metricsClients",
        TEXTS,
        "Ranges that may reach port 2381, when `metrics` is `private`.",
        "the members alone",
    ),
    Key(
        "hetzner.openToTheWorld",
        BOOLEAN,
        "Must be true for `0.0.0.0/0` or `::/0` among those ranges.",
        "false",
    ),
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
    Key("hetzner.bastion.image", TEXT, "Its image.", hetzner_rules.DEFAULT_IMAGE),
    Key("hetzner.bastion.location", TEXT, "Its location.", "`hetzner.location`"),
    Key("hetzner.bastion.address", TEXT, "Its private address.", "the subnet's fifth"),
    Key("hetzner.volume", OBJECT, "A volume per slot for etcd's data.", "the local disk"),
    Key("hetzner.volume.size", INTEGER, "Size of each.", unit="GB", required=True),
    Key(
        "hetzner.volume.protect",
        BOOLEAN,
        "Pulumi refuses to delete the volumes; set it to false and run `pulumi up` before `pulumi destroy`.",
        "true",
    ),
    Key(
        "hetzner.sshKeys",
        TEXTS,
        "Names of ssh keys in the project that Hetzner is told of when it makes a server; with a key of one's own in "
        "`ssh`, without any Hetzner mails a root password (that ssh does not accept).",
        "the key that is made",
    ),
    Key("hetzner.labels", MAP, "Further labels on everything; `etcd`, `cluster` and `member` are set."),
)

_AWS: tuple[Key, ...] = (
    Key("aws", OBJECT, "Network and machines on AWS, for the platform `aws`."),
    Key(
        "aws.zones",
        TEXTS,
        "Availability zones, best three of one region, each of which gets a subnet. Either this or `aws.subnets`.",
    ),
    Key(
        "aws.instanceType",
        TEXT,
        "Instance type of all machines that do not say otherwise, like `t3.medium`.",
        required=True,
    ),
    Key(
        "aws.image",
        TEXT,
        f"The newest of {', '.join(f'`{name}`' for name in aws_types.IMAGES)} when the machine's generation begins.",
        aws_types.DEFAULT_IMAGE,
    ),
    Key("aws.ami", TEXT, "ID of any other image with systemd and cloud-init; goes before `image`.", "`aws.image`"),
    Key(
        "aws.architecture",
        TEXT,
        "Architecture of the image, `amd64` or `arm64`: instance types must fit. An image by name follows its type.",
    ),
    Key(
        "aws.slots",
        LIST,
        "The slots, 1, 3, 5 or 7, in the order in which changes go through them.",
        required=True,
    ),
    Key(
        "aws.slots[].name",
        TEXT,
        "Name of the slot and of its member, a DNS label, stable for the life of the slot.",
        required=True,
    ),
    Key(
        "aws.slots[].zone",
        TEXT,
        "Its zone, stable for the life of the slot.",
        "the number at the name's end counts through the zones",
    ),
    Key(
        "aws.slots[].address",
        TEXT,
        "Private address in the subnet of its zone, stable for the life of the slot.",
        "the subnet's tenth plus the number at the name's end",
    ),
    Key(
        "aws.slots[].generation",
        INTEGER,
        "Raise it to have this slot's machine replaced by one with the present image and type; of one slot per update.",
        "1",
    ),
    Key("aws.slots[].instanceType", TEXT, "Its instance type.", "`aws.instanceType`"),
    Key("aws.slots[].image", TEXT, "Its image.", "`aws.image`"),
    Key("aws.slots[].ami", TEXT, "Its image, by ID.", "`aws.ami`"),
    Key("aws.slots[].extraNames", TEXTS, _EXTRA_NAMES, "none"),
    Key(
        "aws.vpcRange",
        TEXT,
        "Range of the VPC that is made, /16 to /24. It cannot change later.",
        aws_rules.DEFAULT_VPC,
    ),
    Key(
        "aws.vpcId",
        TEXT,
        "A VPC that exists, whose subnets are in `aws.subnets`. It cannot change later.",
        "one is made",
    ),
    Key(
        "aws.subnets",
        LIST,
        "The subnets, one per zone, where they exist or their ranges matter. One in which a member is cannot change.",
    ),
    Key("aws.subnets[].zone", TEXT, "Its zone.", required=True),
    Key(
        "aws.subnets[].range",
        TEXT,
        "Its range, /16 to /28; of a subnet that exists, the one that it has.",
        "the part of the VPC's range that has the number of the zone's letter, a /24 of a /16",
    ),
    Key("aws.subnets[].id", TEXT, "ID of a subnet that exists, with `aws.vpcId`.", "it is made"),
    Key(
        "aws.operators",
        TEXTS,
        "Ranges from which ssh comes: to the machines, or to the bastion that is made. With a bastion that exists, its "
        "private range.",
        required=True,
    ),
    Key(
        "aws.clients",
        TEXTS,
        "Ranges that may reach port 2379, beside the machines in the clients' security group.",
        "none",
    ),
    Key("aws.clientGroups", TEXTS, "IDs of security groups whose machines may reach port 2379 too.", "none"),
    Key("aws.metricsClients", TEXTS, "Ranges that may reach port 2381, when `metrics` is `private`.", "none"),
    Key("aws.openToTheWorld", BOOLEAN, "Must be true for `0.0.0.0/0` or `::/0` among those ranges.", "false"),
    Key("aws.publicIpv4", BOOLEAN, "Whether each machine has a public address (an Elastic IP).", "true"),
    Key(
        "aws.natGateway",
        BOOLEAN,
        "Whether machines without public addresses reach the internet, through a NAT gateway. Without one they need a "
        "`releaseMirror` within reach.",
        "false",
    ),
    Key("aws.bastion", OBJECT, "A small machine, made here, through which the machines are reached.", "none"),
    Key("aws.bastion.instanceType", TEXT, "Its instance type.", "`aws.instanceType`"),
    Key("aws.bastion.image", TEXT, "Its image.", aws_types.DEFAULT_IMAGE),
    Key("aws.bastion.ami", TEXT, "Its image, by ID.", "`aws.bastion.image`"),
    Key("aws.bastion.subnetId", TEXT, "Its subnet, in a VPC that exists.", "one is made"),
    Key("aws.volume", OBJECT, "An encrypted EBS volume per slot for etcd's data.", "the root volume"),
    Key("aws.volume.size", INTEGER, "Size of each.", unit="GiB", required=True),
    Key("aws.volume.type", TEXT, f"{', '.join(f'`{name}`' for name in aws_types.VOLUME_TYPES)}.", "gp3"),
    Key("aws.volume.iops", INTEGER, "Operations per second; io1 and io2 need it.", "3000 with gp3", "IOPS"),
    Key("aws.volume.throughput", INTEGER, "Throughput, with gp3.", "125 with gp3", "MiB/s"),
    Key("aws.volume.kmsKeyId", TEXT, "ARN of the key that encrypts volumes yet to be made.", "the account's for EBS"),
    Key(
        "aws.volume.protect",
        BOOLEAN,
        "Pulumi refuses to delete the volumes; set it to false and run `pulumi up` before `pulumi destroy`.",
        "true",
    ),
    Key("aws.rootSize", INTEGER, "Size of each root volume, encrypted, gp3.", str(aws_rules.DEFAULT_ROOT_SIZE), "GiB"),
    Key("aws.instanceProfile", TEXT, "Name of an instance profile that exists; nothing here needs one.", "none"),
    Key("aws.tags", MAP, f"Further tags on everything; {', '.join(f'`{tag}`' for tag in aws_rules.OWN_TAGS)} are set."),
)

KEYS: tuple[Key, ...] = (
    Key(
        "platform",
        TEXT,
        "Where the machines come from: `hosts`, machines that exist, or `aws` or `hetzner`, which make them there. It "
        "cannot change later.",
        required=True,
    ),
    Key(
        "clusterName",
        TEXT,
        "Name of the cluster, a DNS label. It cannot change later.",
        "the stack's name",
    ),
    Key("version", TEXT, "Release of etcd, `X.Y.Z`, of 3.5 (3.5.24 or newer), 3.6 or 3.7.", DEFAULT_VERSION),
    Key(
        "machines",
        LIST,
        "The machines that exist, 1, 3, 5 or 7, in the order in which changes go through them. Either this or "
        "`machinesFile`.",
    ),
    Key(
        "machines[].name",
        TEXT,
        "Name of the slot and of its member, a DNS label, stable for the life of the slot.",
        required=True,
    ),
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
    Key("machines[].extraNames", TEXTS, _EXTRA_NAMES, "none"),
    Key("machines[].ssh", OBJECT, "The way in, as far as it differs from `ssh`.", required=True),
    Key("machines[].ssh.host", TEXT, "Name or address at which the operator reaches it.", "`address`"),
    Key(
        "machines[].ssh.hostKey",
        TEXT,
        "Its public host key, like `ssh-ed25519 AAAA...`; any other is refused.",
        required=True,
    ),
    *_ssh("machines[].ssh"),
    Key(
        "machinesFile",
        TEXT,
        'JSON file `{"machines": [...]}` with the same objects as `machines`, relative to the project\'s directory.',
    ),
    Key("ssh", OBJECT, "The way in, for all machines that do not say otherwise."),
    *_ssh("ssh"),
    Key(
        "ssh.publicKey",
        TEXT,
        "Public half of a key in an agent, one line: what machines that a cloud makes are told of their operator.",
    ),
    Key(
        "sshPrivateKey",
        TEXT,
        "The private ssh key itself, where it is in no file: `pulumi config set --secret sshPrivateKey < FILE`.",
        secret=True,
    ),
    *_AWS,
    *_HETZNER,
    Key(
        "dataDirectory",
        TEXT,
        "Directory of etcd's data, absolute, best on a disk of its own. It must not be where this program keeps its "
        "own files, below `/home`, `/root` or another directory that etcd's unit hides, or where a boot empties it. "
        "Where it is a link, what it points to counts.",
        "/var/lib/etcd",
    ),
    Key(
        "releaseMirror",
        TEXT,
        "Where machines download releases: `<mirror>/v<version>/etcd-v<version>-linux-<arch>.tar.gz`; `https://`, or "
        "`http://` if written so.",
        DEFAULT_MIRROR,
    ),
    Key(
        "releaseProxy",
        TEXT,
        "The proxy through which machines download releases: `http://host:port`.",
        "that of their environment, if any",
    ),
    Key(
        "releaseHeaders",
        MAP,
        "Headers that the mirror wants, and `Proxy-Authorization` for the proxy: `pulumi config set --path --secret "
        "releaseHeaders.Authorization 'Bearer ...'`. Who the mirror redirects to does not get them.",
        "none",
        secret=True,
    ),
    Key(
        "releaseSha256",
        MAP,
        "SHA-256 of the archive per architecture, `amd64` and `arm64`.",
        "the SHA256SUMS of the release",
    ),
    Key(
        "quota",
        TEXT,
        "Size of the database at which etcd stops taking writes. More than 8GiB is not suggested; more than the "
        "memory with which a machine is sold is refused: at preview where a cloud says how much its type has, else on "
        "the machine, before etcd starts.",
        "2GiB",
        "bytes, or KiB, MiB, GiB",
    ),
    Key(
        "metrics",
        TEXT,
        "Where `/metrics` and `/health` are served on port 2381, in plain http: `loopback`, or `private` for the "
        "private address too.",
        "loopback",
    ),
    Key(
        "heartbeatIntervalMs",
        INTEGER,
        "Time between the leader's heartbeats; about the round-trip time between members.",
        "100 (etcd's own)",
        "ms",
    ),
    Key(
        "electionTimeoutMs",
        INTEGER,
        "Time without a heartbeat before an election; at least five heartbeats, at most 50000.",
        "1000 (etcd's own)",
        "ms",
    ),
    Key(
        "flags",
        MAP,
        "Further flags of etcd, name without dashes and value: `max-txn-ops: 256`. Refused when the version does not "
        "know one, the program sets it, or etcd cannot work with the value.",
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
    Key("firewall.openToTheWorld", BOOLEAN, "Must be true for `0.0.0.0/0` or `::/0` among those ranges.", "false"),
    Key(
        "override",
        TEXT,
        "What the refusal of a change printed, to make exactly that change all the same, once; see "
        "`docs/operations.md`.",
    ),
    Key("certificates", OBJECT, "Lifetimes of certificates."),
    Key(
        "certificates.validityHours", INTEGER, "Lifetime of server, peer and client certificates.", "8760 (a year)", "h"
    ),
    Key(
        "certificates.earlyRenewalHours",
        INTEGER,
        "A certificate with less than that left is renewed by the next `pulumi up`.",
        "720 (30 days)",
        "h",
    ),
    Key(
        "certificates.caValidityHours",
        INTEGER,
        "Lifetime of a CA that is made; one that exists keeps its own.",
        "87600 (ten years)",
        "h",
    ),
    Key(
        "authorities",
        LIST,
        "The certificate authorities that are trusted. One is replaced by another in three updates: trust both, change "
        "`issuer`, take the old one off the list.",
        "one that is made, named `1`",
    ),
    Key(
        "authorities[].name",
        TEXT,
        "Its name, a DNS label; another authority gets another name, for ever.",
        required=True,
    ),
    Key("authorities[].certificate", TEXT, "Certificate of a CA of one's own, PEM: a root.", "a CA is made"),
    Key(
        "authorities[].privateKey",
        TEXT,
        "Its private key, PEM, without a passphrase: `pulumi config set --path --secret "
        "'authorities[0].privateKey' < FILE`. One that is only trusted needs none.",
        secret=True,
    ),
    Key("issuer", TEXT, "Name of the authority that issues the certificates.", "the first"),
    Key(
        "peerAuthorities",
        LIST,
        "The certificate authorities that members trust among each other, on port 2380; replaced in three updates like "
        "`authorities`. The name alone stands for the one of that name in `authorities`.",
        "a new cluster has one that is made, named `peer-1`, or the same as `authorities` where these are one's own; a "
        "cluster that exists keeps what it has",
    ),
    Key("peerAuthorities[].name", TEXT, "As in `authorities`.", required=True),
    Key("peerAuthorities[].certificate", TEXT, "As in `authorities`.", "a CA is made"),
    Key(
        "peerAuthorities[].privateKey",
        TEXT,
        "As in `authorities`: `pulumi config set --path --secret 'peerAuthorities[0].privateKey' < FILE`.",
        secret=True,
    ),
    Key("peerIssuer", TEXT, "Name of the authority that issues the peer certificates.", "the first"),
    Key(
        "extraNames",
        TEXTS,
        "DNS names and IP addresses that the server certificate of every member has beside its own: those of a load "
        "balancer. A change issues the certificates anew, without a restart.",
        "none",
    ),
    Key(
        "authentication",
        BOOLEAN,
        "Whether etcd asks which user a client is, by the common name of its certificate. API servers and this program "
        "are root, each of `users` has its keys, every other certificate reaches nothing.",
        "false: every client certificate of the CAs can do everything",
    ),
    Key(
        "users",
        LIST,
        "Clients beside the API servers, with `authentication`; the output `users` has the certificate of each.",
        "none",
    ),
    Key("users[].name", TEXT, "Its name, a DNS label: the common name of its certificate.", required=True),
    Key(
        "users[].prefix",
        TEXT,
        "It reaches the keys that begin with this text, and no others: `/x` covers `/xy`, `/x/` does not.",
        required=True,
    ),
    Key("users[].permission", TEXT, "What it can do with them: `read`, `write` or `readwrite`.", required=True),
    Key("clusterApi", OBJECT, "The workload cluster for which the output `cluster_api` is made."),
    Key("clusterApi.clusterName", TEXT, "Name of the `Cluster` object.", "`clusterName`"),
    Key("clusterApi.namespace", TEXT, "Its namespace in the management cluster.", "default"),
)

BY_PATH: dict[str, Key] = {key.path: key for key in KEYS}


def below(path: str) -> Sequence[Key]:
    """The keys directly in the object at `path`; of the whole configuration for the empty path."""
    prefix = f"{path}." if path else ""
    return [key for key in KEYS if key.path.startswith(prefix) and "." not in key.path[len(prefix) :]]


def holds_secret(path: str) -> bool:
    """Whether the key or any below it is secret."""
    return any(key.secret and (key.path + ".").startswith(f"{path}.") for key in KEYS)
