"""The configuration keys of all platforms, and the table of all keys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.kubernetes.cluster_api import API_VERSIONS
from components.pki import CA_HOURS, EARLY_RENEWAL_HOURS, YEAR_HOURS
from components.plan import DEFAULT_MIRROR, DEFAULT_VERSION
from components.plan.backup import DEFAULT_DRILL, DEFAULT_SCHEDULE, NEVER
from components.plan.flags import DEFAULT_QUOTA, METRICS_LOOPBACK
from components.plan.kubernetes import MONITORING
from components.plan.maintenance import IN_USE_PERCENT, QUOTA_PERCENT
from components.plan.restore import MAJORITY_AWAY, UNKNOWN_CLUSTER
from components.plan.service_managers import SYSTEMD
from components.plan.spec import DEFAULT_DATA_DIRECTORY
from components.plan.versions import supported

from .key_table import BOOLEAN, INTEGER, INTEGER_OR_AUTO, LIST, MAP, OBJECT, TEXT, TEXTS, Key, Table

if TYPE_CHECKING:
    from .platform import Platform

EXTRA_NAMES = "More DNS names and IP addresses in its server and peer certificates."


def ssh_keys(prefix: str, inherited: str = "") -> tuple[Key, ...]:
    """The ssh keys of the defaults or of a machine.

    Args:
        prefix: path of the object.
        inherited: the default of every key, for a machine; empty: each key has its own default.
    """
    return (
        Key(f"{prefix}.user", TEXT, "Login: `root`, or a user with password-less sudo.", inherited or "root"),
        Key(f"{prefix}.port", INTEGER, "TCP port of sshd.", inherited or "22"),
        Key(
            f"{prefix}.privateKeyFile",
            TEXT,
            "File with the private ssh key, relative to the project's directory; `~` is allowed. Only its "
            "owner may read it.",
            inherited or "`sshPrivateKey`",
        ),
        Key(
            f"{prefix}.privateKeyPassphrase",
            TEXT,
            "Passphrase of the private key: `pulumi config set --path --secret ssh.privateKeyPassphrase`.",
            inherited,
            secret=True,
        ),
        Key(
            f"{prefix}.agent",
            BOOLEAN,
            "Whether to use the ssh agent of the user who runs Pulumi (`SSH_AUTH_SOCK`) instead of a key given here.",
            inherited or "false",
        ),
        Key(
            f"{prefix}.sftp",
            BOOLEAN,
            "Whether `etcd-node` is copied to the machine by sftp. Otherwise it goes through Pulumi's state, "
            "which grows by a third of a megabyte per member.",
            inherited or "the login is asked once whether sftp works",
        ),
        Key(f"{prefix}.bastion", OBJECT, "Host through which the machines are reached.", inherited or "none"),
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


def slots(root: str, subnet: str, renewed: str) -> tuple[Key, ...]:
    """The list of slots of a platform that creates its machines.

    Args:
        root: the platform's object.
        subnet: which subnet a slot's address is in.
        renewed: what a new machine in a slot takes from the configuration.
    """
    each = f"{root}.slots"
    stays = "It must not change during the life of the slot."
    raised = f"Raise it to replace this slot's machine by one with the current {renewed}. One slot per update."
    derived = "the subnet's tenth plus the number at the end of the name"
    return (
        Key(each, LIST, "1, 3, 5 or 7 slots. Changes go through them in this order.", required=True),
        slot_name(each),
        Key(f"{each}[].extraNames", TEXTS, EXTRA_NAMES, "none"),
        Key(f"{each}[].address", TEXT, f"Private address in {subnet}. {stays}", derived),
        Key(f"{each}[].generation", INTEGER, raised, "1"),
    )


def slot_name(machines: str) -> Key:
    """The name of each machine in a list."""
    meaning = "Name of the slot and its member, a DNS label. It must not change during the life of the slot."
    return Key(f"{machines}[].name", TEXT, meaning, required=True)


def open_to_the_world(root: str) -> Key:
    """Whether the allowed ranges can include the whole internet."""
    return Key(
        f"{root}.openToTheWorld", BOOLEAN, "Must be true if those ranges contain `0.0.0.0/0` or `::/0`.", "false"
    )


def protect(root: str) -> Key:
    """Whether the volumes are protected from deletion."""
    return Key(
        f"{root}.volume.protect",
        BOOLEAN,
        "Pulumi refuses to delete the volumes. Before `pulumi destroy`, set it to false and run `pulumi up`.",
        "true",
    )


def table(platforms: "Sequence[Platform]") -> Table:
    """All keys, with those of these platforms."""
    names = "; ".join(f"`{each.name}`, {each.about}" for each in platforms)
    first = (
        Key("platform", TEXT, f"Where the machines come from: {names}. It cannot change later.", required=True),
        Key("clusterName", TEXT, "Name of the cluster, a DNS label. It cannot change later.", "the stack's name"),
        Key("version", TEXT, f"Release of etcd, `X.Y.Z`, of {supported()}.", DEFAULT_VERSION),
    )
    return Table([*first, *(key for each in platforms for key in each.keys), *_REST])


_REST: tuple[Key, ...] = (
    Key("ssh", OBJECT, "Default ssh settings for all machines."),
    *ssh_keys("ssh"),
    Key("ssh.publicKey", TEXT, "Public half of a key in an agent, one line. Machines that a cloud creates get it."),
    Key(
        "sshPrivateKey",
        TEXT,
        "The private ssh key itself, if it is in no file: `pulumi config set --secret sshPrivateKey < FILE`.",
        secret=True,
    ),
    Key(
        "dataDirectory",
        TEXT,
        "Directory of etcd's data, absolute, preferably on its own disk. It must not be inside the "
        "program's own directories, below `/home`, `/root` or another directory that etcd's unit hides, "
        "or in one that a boot empties. If it is a link, its target counts.",
        DEFAULT_DATA_DIRECTORY,
    ),
    Key(
        "releaseMirror",
        TEXT,
        "Where machines download releases: `<mirror>/v<version>/etcd-v<version>-linux-<arch>.tar.gz`, "
        "with `https://` or `http://`.",
        DEFAULT_MIRROR,
    ),
    Key(
        "releaseProxy",
        TEXT,
        "Proxy through which machines download releases: `http://host:port`.",
        "the proxy of their environment, if any",
    ),
    Key(
        "releaseHeaders",
        MAP,
        "Headers for the mirror, and `Proxy-Authorization` for the proxy: `pulumi config set --path "
        "--secret releaseHeaders.Authorization 'Bearer ...'`. They are not sent to a redirect target.",
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
        "serviceManager",
        TEXT,
        "What runs etcd on the machines: `systemd`, or `kubelet`, with a static pod; see `docs/kubelet.md`.",
        SYSTEMD,
    ),
    Key(
        "etcdImage",
        TEXT,
        "With the kubelet, etcd's image with the release `version`: by digest, `registry.example.com/etcd@sha256:<64 "
        "hex digits>`, or an archive, as `docker save` writes it: `https://...tar#sha256=<64 hex digits>`. An archive "
        "can also have the image of the pod's sandbox.",
        "none: systemd needs none",
    ),
    Key(
        "etcdImageCredentials",
        TEXT,
        "`USER:PASSWORD` for the registry of an image by digest: `pulumi config set --secret etcdImageCredentials`.",
        "none",
        secret=True,
    ),
    Key(
        "quota",
        TEXT,
        "Size of the database at which etcd stops accepting writes. More than 8GiB is not recommended. "
        "More than the advertised memory of a machine is refused: at preview if the cloud reports the "
        "memory of the type, otherwise on the machine before etcd starts.",
        DEFAULT_QUOTA,
        "bytes, or KiB, MiB, GiB",
    ),
    Key(
        "metrics",
        TEXT,
        "Address of `/metrics` and `/health` on port 2381, in plain http: `loopback`, or `private` for "
        "the private address too.",
        METRICS_LOOPBACK,
    ),
    Key(
        "heartbeatIntervalMs",
        INTEGER_OR_AUTO,
        "Interval of the leader's heartbeats. It should be about the round-trip time between members. With `auto`, "
        "this and the next key are derived from the measured round trips.",
        "100 (etcd's own)",
        "ms",
    ),
    Key(
        "electionTimeoutMs",
        INTEGER,
        "Time without a heartbeat before an election: at least five heartbeats, at most 50000.",
        "1000 (etcd's own)",
        "ms",
    ),
    Key(
        "acknowledge",
        TEXTS,
        "What is accepted although it is slower than etcd requires, and otherwise refused before a member begins: "
        "`slow-disk` (fewer than 50 synced writes per second), `slow-link` (a round trip of more than a tenth of the "
        "election timeout).",
    ),
    Key(
        "flags",
        MAP,
        "More flags of etcd, name without dashes and value: `max-txn-ops: 256`. A flag is refused if the "
        "version does not know it, the program sets it, or etcd cannot work with the value.",
    ),
    Key(
        "override",
        TEXT,
        "The text that a refused change printed, to make exactly that change once; see `docs/operations.md`.",
    ),
    Key("maintenance", OBJECT, "What machines do by themselves about the size of the database.", "nothing"),
    Key(
        "maintenance.defragment",
        BOOLEAN,
        "Whether a member is defragmented when the rule (the next two keys) says so: one at a time, the leader last.",
        "false",
    ),
    Key(
        "maintenance.inUsePercent",
        INTEGER,
        "The rule: at most this share of the database file is in use.",
        str(IN_USE_PERCENT),
        "%",
    ),
    Key(
        "maintenance.quotaPercent",
        INTEGER,
        "And the file has at least this share of `quota`.",
        str(QUOTA_PERCENT),
        "%",
    ),
    Key(
        "maintenance.recoverSpace",
        BOOLEAN,
        "Whether a full database (alarm NOSPACE) is compacted to the present revision and defragmented, and the alarm "
        "disarmed. Otherwise only Kubernetes compacts.",
        "false",
    ),
    Key(
        "restore",
        OBJECT,
        "A restore of the cluster from a snapshot, once; see `docs/restore.md`. Everything that was written after the "
        "snapshot is lost.",
    ),
    Key(
        "restore.from",
        TEXT,
        "The snapshot: a file on your computer, as `etcdctl snapshot save` wrote it, relative to the project's "
        "directory; `~` is allowed. Or `newest`, or a snapshot's name, in the destination of `backup`.",
        required=True,
    ),
    Key("restore.confirm", TEXT, "The name of the cluster, to confirm the loss.", required=True),
    Key(
        "restore.identity",
        TEXT,
        "The private key of age that decrypts a snapshot of that destination: "
        "`pulumi config set --path --secret external-etcd:restore.identity < etcd-backup.key`. Remove it when the "
        "restore is complete.",
        "none; a file needs none",
        secret=True,
    ),
    Key("restore.number", INTEGER, "Raise it to restore again: each number is restored once.", "1"),
    Key(
        "restore.accept",
        TEXTS,
        f"Refusals that do not apply: `{MAJORITY_AWAY}`, a majority of the members has its data and does not answer; "
        f"`{UNKNOWN_CLUSTER}`, the snapshot does not say of which cluster it is.",
        "none",
    ),
    Key("certificates", OBJECT, "Lifetimes of certificates."),
    Key(
        "certificates.validityHours",
        INTEGER,
        "Lifetime of server, peer and client certificates.",
        f"{YEAR_HOURS} (a year)",
        "h",
    ),
    Key(
        "certificates.earlyRenewalHours",
        INTEGER,
        "The next `pulumi up` renews a certificate with less than this left.",
        f"{EARLY_RENEWAL_HOURS} (30 days)",
        "h",
    ),
    Key(
        "certificates.caValidityHours",
        INTEGER,
        "Lifetime of a created CA. An existing one keeps its own.",
        f"{CA_HOURS} (ten years)",
        "h",
    ),
    Key(
        "authorities",
        LIST,
        "The trusted certificate authorities. To replace one, make three updates: trust both, change "
        "`issuer`, remove the old one.",
        "one that is created, named `1`",
    ),
    Key(
        "authorities[].name",
        TEXT,
        "Its name, a DNS label. Another authority must have another name, forever.",
        required=True,
    ),
    Key("authorities[].certificate", TEXT, "Certificate of your own CA, PEM. It must be a root.", "a CA is created"),
    Key(
        "authorities[].privateKey",
        TEXT,
        "Its private key, PEM, without a passphrase: `pulumi config set --path --secret "
        "'authorities[0].privateKey' < FILE`. A CA that is only trusted needs none.",
        secret=True,
    ),
    Key("issuer", TEXT, "Name of the authority that issues the certificates.", "the first"),
    Key(
        "peerAuthorities",
        LIST,
        "The certificate authorities that members trust among each other, on port 2380. They are replaced"
        " in three updates, like `authorities`. A name alone refers to the CA of that name in "
        "`authorities`.",
        "a new cluster: one that is created, named `peer-1`, or the same as `authorities` if those are "
        "your own; an existing cluster keeps what it has",
    ),
    Key("peerAuthorities[].name", TEXT, "As in `authorities`.", required=True),
    Key("peerAuthorities[].certificate", TEXT, "As in `authorities`.", "a CA is created"),
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
        "More DNS names and IP addresses in the server certificate of every member, such as those of a "
        "load balancer. A change issues the certificates again, without a restart.",
        "none",
    ),
    Key(
        "authentication",
        BOOLEAN,
        "Whether etcd checks the user of a client, by the common name of its certificate. API servers and"
        " this program are root, each of `users` has its keys, and every other certificate has no access.",
        "false: every client certificate of the CAs has full access",
    ),
    Key(
        "users",
        LIST,
        "Clients other than the API servers, with `authentication`. The output `users` has their certificates.",
        "none",
    ),
    Key("users[].name", TEXT, "Its name, a DNS label: the common name of its certificate.", required=True),
    Key(
        "users[].prefix",
        TEXT,
        "It has access only to keys that begin with this text: `/x` covers `/xy`, `/x/` does not.",
        required=True,
    ),
    Key("users[].permission", TEXT, "Its access to these keys: `read`, `write` or `readwrite`.", required=True),
    Key(
        "backup",
        OBJECT,
        "Snapshots on a schedule, encrypted on the machine and kept elsewhere: in `s3`, `ssh` or `directory`. See "
        "`docs/backups.md`.",
        "none",
    ),
    Key(
        "backup.recipients",
        TEXTS,
        "Public keys of age (`age1...`), from `age-keygen`. Only their private keys can read the snapshots, and no "
        "machine has one.",
        required=True,
    ),
    Key(
        "backup.schedule",
        TEXT,
        "When a snapshot is taken: a calendar event of systemd (`OnCalendar=`), such as `*:0/15`.",
        DEFAULT_SCHEDULE,
    ),
    Key(
        "backup.drill",
        TEXT,
        "When the last snapshot is restored beside a member, to prove that it can be: a calendar event of systemd. "
        f"`{NEVER}`: no drill, and no machine has a key that reads a snapshot.",
        DEFAULT_DRILL,
    ),
    Key("backup.s3", OBJECT, "An S3-compatible store. Exactly one of the three places must be set.", "none"),
    Key("backup.s3.bucket", TEXT, "Name of the bucket. It must exist.", required=True),
    Key("backup.s3.endpoint", TEXT, "URL of the store, with `https://` or `http://`.", "Amazon S3"),
    Key(
        "backup.s3.prefix",
        TEXT,
        "Folder in the bucket, without `/` at its ends. Clusters of the same name must have different ones.",
        "none",
    ),
    Key("backup.s3.region", TEXT, "Region of the bucket; required without `endpoint`.", "none"),
    Key(
        "backup.s3.accessKeyId",
        TEXT,
        "ID of an access key that can write, read and list there, and delete if `backup.keep` is set.",
        "the profile of the instance",
        secret=True,
    ),
    Key(
        "backup.s3.secretAccessKey",
        TEXT,
        "The access key: `pulumi config set --path --secret backup.s3.secretAccessKey`.",
        "the profile of the instance",
        secret=True,
    ),
    Key(
        "backup.s3.objectLock",
        OBJECT,
        "Retention that machines set on each snapshot, in a bucket with object lock.",
        "the bucket's own retention, if it has one",
    ),
    Key(
        "backup.s3.objectLock.mode",
        TEXT,
        "`GOVERNANCE` (accounts with a special permission can still delete) or `COMPLIANCE` (nobody can).",
        required=True,
    ),
    Key("backup.s3.objectLock.days", INTEGER, "How long, from the upload on.", unit="days", required=True),
    Key("backup.ssh", OBJECT, "A directory on another machine, by sftp.", "none"),
    Key("backup.ssh.host", TEXT, "Its name or address; an IPv6 address in brackets.", required=True),
    Key("backup.ssh.user", TEXT, "The login there.", required=True),
    Key(
        "backup.ssh.directory",
        TEXT,
        "The directory, absolute. It must exist, and the login must be able to write, read and list there, and to "
        "delete if `backup.keep` is set.",
        required=True,
    ),
    Key("backup.ssh.hostKey", TEXT, "Its public host key; any other is refused.", required=True),
    Key("backup.ssh.port", INTEGER, "Port of its sshd.", "22"),
    Key(
        "backup.ssh.privateKey",
        TEXT,
        "Private key of the login, without a passphrase: "
        "`pulumi config set --path --secret backup.ssh.privateKey < FILE`.",
        required=True,
        secret=True,
    ),
    Key(
        "backup.directory",
        TEXT,
        "Directory on every machine, absolute, such as a mounted share. It must exist, and not be on the file system "
        "of etcd's data.",
        "none",
    ),
    Key(
        "backup.keep",
        OBJECT,
        "Which snapshots are kept: the last one of each of so many hours, days and weeks that have one. Others are "
        "deleted.",
        "machines delete nothing",
    ),
    Key("backup.keep.hourly", INTEGER, "Number of hours.", "0"),
    Key("backup.keep.daily", INTEGER, "Number of days.", "0"),
    Key("backup.keep.weekly", INTEGER, "Number of weeks.", "0"),
    Key(
        "backup.sha256",
        MAP,
        "SHA-256 per archive of age and rclone, by the archive's name.",
        "this program's for age, the release's SHA256SUMS for rclone; the mirror's for both with a `releaseMirror`",
    ),
    Key(
        "kubernetesVersion",
        TEXT,
        "Version of the Kubernetes that uses the cluster, `1.Y` or `1.Y.Z`, in quotes. Below 1.31, the output "
        "`kubeadm` is v1beta3, else v1beta4. With the patch, it names that release, too.",
        "v1beta4, without a release",
    ),
    Key(
        "prometheus",
        BOOLEAN,
        "Whether Prometheus scrapes the members. The outputs then have its configuration, alerts and, unless `metrics` "
        "is `private`, a client certificate. Machines write metrics of their own; with `private`, they serve them on "
        "port 2382. See `docs/monitoring.md`.",
        "false",
    ),
    Key(
        "driftCheck",
        TEXT,
        "Every new text, such as the date, has the machines compared with what was installed. The output `drift` has "
        "what others have changed, and the update after that puts it right.",
        "they are not compared",
    ),
    Key("prometheusOperator", OBJECT, "The objects for the Prometheus Operator, an output with `prometheus`."),
    Key("prometheusOperator.namespace", TEXT, "Their namespace.", MONITORING),
    Key(
        "prometheusOperator.labels",
        MAP,
        "Labels of the ServiceMonitor and the PrometheusRule, by which a `Prometheus` object selects them: "
        "`release: kube-prometheus-stack`.",
        "none",
    ),
    Key("clusterApi", OBJECT, "The workload cluster of the outputs for Cluster API."),
    Key("clusterApi.clusterName", TEXT, "Name of the `Cluster` object, a DNS label.", "`clusterName`"),
    Key("clusterApi.namespace", TEXT, "Its namespace in the management cluster.", "default"),
    Key(
        "clusterApi.apiVersion",
        TEXT,
        f"Version of its KubeadmControlPlane: {' or '.join(f'`{each}`' for each in API_VERSIONS)}.",
        API_VERSIONS[0],
    ),
)
