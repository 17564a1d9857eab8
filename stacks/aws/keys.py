"""The configuration keys of the platform `aws`."""

from components.plan import aws as rules
from components.plan import aws_types

from ..keys import open_to_the_world, protect, slots
from ..table import BOOLEAN, INTEGER, LIST, MAP, OBJECT, TEXT, TEXTS, Key

KEYS: tuple[Key, ...] = (
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
    *slots("aws"),
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
    Key("aws.vpcRange", TEXT, "Range of the VPC that is made, /16 to /24. It cannot change later.", rules.DEFAULT_VPC),
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
    open_to_the_world("aws"),
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
    protect("aws"),
    Key("aws.rootSize", INTEGER, "Size of each root volume, encrypted, gp3.", str(rules.DEFAULT_ROOT_SIZE), "GiB"),
    Key("aws.instanceProfile", TEXT, "Name of an instance profile that exists; nothing here needs one.", "none"),
    Key("aws.tags", MAP, f"Further tags on everything; {', '.join(f'`{tag}`' for tag in rules.OWN_TAGS)} are set."),
)
