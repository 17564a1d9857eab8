"""The configuration keys of the platform `aws`."""

from components.plan import aws as rules
from components.plan import aws_bucket, aws_types

from ..key_table import BOOLEAN, INTEGER, LIST, MAP, OBJECT, TEXT, TEXTS, Key
from ..keys import open_to_the_world, protect, slots

KEYS: tuple[Key, ...] = (
    Key("aws", OBJECT, "Network and machines on AWS, for the platform `aws`."),
    Key(
        "aws.zones",
        TEXTS,
        "Availability zones of one region, preferably three. Each gets a subnet. Either this or `aws.subnets`.",
    ),
    Key("aws.instanceType", TEXT, "Default instance type of all machines, like `t3.medium`.", required=True),
    Key(
        "aws.image",
        TEXT,
        f"The newest of {', '.join(f'`{name}`' for name in aws_types.IMAGES)} when the machine's generation begins.",
        aws_types.DEFAULT_IMAGE,
    ),
    Key(
        "aws.ami",
        TEXT,
        "ID of any other image with systemd and cloud-init. It takes precedence over `image`.",
        "`aws.image`",
    ),
    Key(
        "aws.architecture",
        TEXT,
        "Architecture of the image, `amd64` or `arm64`. Instance types must match. An image by name follows its type.",
    ),
    *slots("aws", "the subnet of its zone", "image and type"),
    Key(
        "aws.slots[].zone",
        TEXT,
        "Its zone. It must not change during the life of the slot.",
        "by the number at the end of the name, counted through the zones",
    ),
    Key("aws.slots[].instanceType", TEXT, "Its instance type.", "`aws.instanceType`"),
    Key("aws.slots[].image", TEXT, "Its image.", "`aws.image`"),
    Key("aws.slots[].ami", TEXT, "Its image, by ID.", "`aws.ami`"),
    Key("aws.vpcRange", TEXT, "Range of the created VPC, /16 to /24. It cannot change later.", rules.DEFAULT_VPC),
    Key(
        "aws.vpcId",
        TEXT,
        "An existing VPC, whose subnets are in `aws.subnets`. It cannot change later.",
        "one is created",
    ),
    Key(
        "aws.subnets",
        LIST,
        "The subnets, one per zone, if they exist or need fixed ranges. A subnet with a member cannot change.",
    ),
    Key("aws.subnets[].zone", TEXT, "Its zone.", required=True),
    Key(
        "aws.subnets[].range",
        TEXT,
        "Its range, /16 to /28. For an existing subnet, its actual range.",
        "the part of the VPC's range with the number of the zone's letter, a /24 of a /16",
    ),
    Key("aws.subnets[].id", TEXT, "ID of an existing subnet, with `aws.vpcId`.", "it is created"),
    Key(
        "aws.operators",
        TEXTS,
        "Ranges from which ssh is allowed: to the machines, or to the created bastion. With an existing "
        "bastion, its private range.",
        required=True,
    ),
    Key(
        "aws.clients",
        TEXTS,
        "Ranges that can reach port 2379, besides the machines in the clients' security group.",
        "none",
    ),
    Key("aws.clientGroups", TEXTS, "IDs of security groups whose machines can also reach port 2379.", "none"),
    Key("aws.metricsClients", TEXTS, "Ranges that can reach ports 2381 and 2382, if `metrics` is `private`.", "none"),
    open_to_the_world("aws"),
    Key("aws.publicIpv4", BOOLEAN, "Whether each machine has a public address (an Elastic IP).", "true"),
    Key(
        "aws.natGateway",
        BOOLEAN,
        "Whether machines without public addresses reach the internet through a NAT gateway. Without it "
        "they need a reachable `releaseMirror`.",
        "false",
    ),
    Key("aws.bastion", OBJECT, "A small machine that is created here, through which the others are reached.", "none"),
    Key("aws.bastion.instanceType", TEXT, "Its instance type.", "`aws.instanceType`"),
    Key("aws.bastion.image", TEXT, "Its image.", aws_types.DEFAULT_IMAGE),
    Key("aws.bastion.ami", TEXT, "Its image, by ID.", "`aws.bastion.image`"),
    Key("aws.bastion.subnetId", TEXT, "Its subnet, in an existing VPC.", "one is created"),
    Key("aws.volume", OBJECT, "An encrypted EBS volume per slot for etcd's data.", "the root volume"),
    Key("aws.volume.size", INTEGER, "Size of each.", unit="GiB", required=True),
    Key("aws.volume.type", TEXT, f"{', '.join(f'`{name}`' for name in aws_types.VOLUME_TYPES)}.", "gp3"),
    Key("aws.volume.iops", INTEGER, "Operations per second. io1 and io2 need it.", "3000 with gp3", "IOPS"),
    Key("aws.volume.throughput", INTEGER, "Throughput, with gp3.", "125 with gp3", "MiB/s"),
    Key(
        "aws.volume.kmsKeyId",
        TEXT,
        "ARN of the key that encrypts volumes created from now on.",
        "the account's for EBS",
    ),
    protect("aws"),
    Key("aws.rootSize", INTEGER, "Size of each root volume, encrypted, gp3.", str(rules.DEFAULT_ROOT_SIZE), "GiB"),
    Key("aws.instanceProfile", TEXT, "Name of an existing instance profile. The program needs none.", "none"),
    Key(
        "aws.backupBucket",
        OBJECT,
        "A bucket that is created for the snapshots of `backup`, with an instance profile for the members, who write, "
        "read and list there, and do not delete. `backup` then has no place, no access key and no `keep`.",
        "none",
    ),
    Key("aws.backupBucket.name", TEXT, "Its name, unique among all buckets of AWS.", required=True),
    Key("aws.backupBucket.days", INTEGER, "After how many days a snapshot expires.", "never", "days"),
    Key(
        "aws.backupBucket.oldVersionDays",
        INTEGER,
        "How long an overwritten, deleted or expired snapshot remains as an old version.",
        str(aws_bucket.DEFAULT_OLD_VERSION_DAYS),
        "days",
    ),
    Key("aws.backupBucket.objectLock", OBJECT, "How long nobody can delete a snapshot.", "not locked"),
    Key(
        "aws.backupBucket.objectLock.mode",
        TEXT,
        "`GOVERNANCE` (accounts with a special permission can still delete) or `COMPLIANCE` (nobody can).",
        required=True,
    ),
    Key("aws.backupBucket.objectLock.days", INTEGER, "How long.", unit="days", required=True),
    Key(
        "aws.backupBucket.protect",
        BOOLEAN,
        "Pulumi refuses to remove the bucket. Before `pulumi destroy`, set it to false and run `pulumi up`; the bucket "
        "then stays at AWS.",
        "true",
    ),
    Key(
        "aws.tags", MAP, f"More tags on everything. The program sets {', '.join(f'`{tag}`' for tag in rules.OWN_TAGS)}."
    ),
)
