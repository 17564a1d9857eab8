"""Which snapshots can be configured, and what members get of it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.shared import backup as node_backup
from components.plan.backup import NEVER, BackupPlan, LockPlan, S3Plan, SshPlan, archives, backup_spec, check_backup
from components.plan.releases import DEFAULT_MIRROR
from tools.backups import archive_of

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
S3 = S3Plan("etcd", "https://s3.example:9000", "clusters/prod", "eu", access_key_id=True, secret_access_key=True)
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHq0Lf0XQ0uS8mW1Yb4kq1z9y1m4o0m0b3bq3m3J8l5S backup"
SSH = SshPlan("backup.lab", "etcd", "/srv/etcd", HOST_KEY, private_key=True)
GOOD = BackupPlan([RECIPIENT], s3=S3, keep={"hourly": 24, "daily": 7, "weekly": 4})


def said(plan: BackupPlan) -> list[str]:
    return [str(problem) for problem in check_backup(plan)]


@pytest.mark.parametrize(
    "plan",
    [
        GOOD,
        replace(GOOD, keep=None, schedule="*:0/15"),
        replace(GOOD, s3=S3Plan("etcd", region="eu-central-1")),
        replace(GOOD, s3=None, directory="/mnt/snapshots"),
        replace(GOOD, s3=None, ssh=SSH),
        replace(GOOD, s3=None, ssh=replace(SSH, host="[fd00::1]", port=23)),
        replace(GOOD, s3=replace(S3, object_lock=LockPlan("COMPLIANCE", 30))),
        replace(GOOD, sha256={archives("rclone")["arm64"]: "ab" * 32}),
        replace(GOOD, drill="weekly"),
        replace(GOOD, drill=NEVER),
    ],
)
def test_the_documented_forms_are_accepted(plan: BackupPlan) -> None:
    assert said(plan) == []


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (replace(GOOD, s3=None), "backup: given none. Snapshots must go to exactly one place: s3, ssh, or directory"),
        (replace(GOOD, directory="/mnt/x"), "backup: given s3 and directory"),
        (replace(GOOD, ssh=SSH), "backup: given s3 and ssh"),
        (replace(GOOD, s3=None, ssh=replace(SSH, host="backup lab")), "backup.ssh.host: given 'backup lab'"),
        (replace(GOOD, s3=None, ssh=replace(SSH, user="-oX")), "backup.ssh.user: given"),
        (replace(GOOD, s3=None, ssh=replace(SSH, directory="srv")), "backup.ssh.directory: given 'srv'"),
        (replace(GOOD, s3=None, ssh=replace(SSH, port=0)), "backup.ssh.port: given 0"),
        (
            replace(GOOD, s3=None, ssh=replace(SSH, host_key="ssh-rsa AAAA")),
            "backup.ssh.host_key: given 'ssh-rsa AAAA'",
        ),
        (replace(GOOD, s3=None, ssh=replace(SSH, private_key=False)), "backup.ssh.private_key: given nothing"),
        (replace(GOOD, s3=replace(S3, object_lock=LockPlan("compliance", 30))), "backup.s3.object_lock.mode"),
        (replace(GOOD, s3=replace(S3, object_lock=LockPlan("COMPLIANCE", 0))), "backup.s3.object_lock.days: given 0"),
        (replace(GOOD, s3=None, directory="mnt/x"), "backup.directory: given 'mnt/x'"),
        (replace(GOOD, schedule="hourly\nExecStart=x"), "backup.schedule: given"),
        (replace(GOOD, schedule=" "), "backup.schedule: given"),
        (replace(GOOD, drill="daily\nExecStart=x"), "backup.drill: given"),
        (replace(GOOD, recipients=[]), "at least one person must be able to read them"),
        (replace(GOOD, recipients=[RECIPIENT, RECIPIENT]), "backup.recipients[1]"),
        (replace(GOOD, recipients=[RECIPIENT[:-1] + "q"]), "must be a public key of age"),
        (replace(GOOD, s3=replace(S3, bucket="Etcd")), "backup.s3.bucket: given 'Etcd'"),
        (replace(GOOD, s3=replace(S3, endpoint="s3.example")), "backup.s3.endpoint: given 's3.example'"),
        (replace(GOOD, s3=replace(S3, prefix="/x")), "backup.s3.prefix: given '/x'"),
        (replace(GOOD, s3=replace(S3, prefix="a/../b")), "backup.s3.prefix: given"),
        (replace(GOOD, s3=S3Plan("etcd")), "backup.s3.region: given nothing"),
        (replace(GOOD, s3=replace(S3, secret_access_key=False)), "backup.s3.secret_access_key: given nothing"),
        (replace(GOOD, keep={"hourly": -1}), "backup.keep.hourly: given -1"),
        (replace(GOOD, keep={"monthly": 1}), "backup.keep.monthly"),
        (replace(GOOD, keep={"hourly": 0}), "At least one period must have a number above 0"),
        (replace(GOOD, sha256={"age-v1.3.1-linux-amd64.tgz": "ab" * 32}), "backup.sha256: given 'age-v1.3.1"),
        (replace(GOOD, sha256={archives("age")["amd64"]: "ab"}), "64 hexadecimal digits"),
    ],
)
def test_an_invalid_setting_is_refused_with_its_key(plan: BackupPlan, says: str) -> None:
    [problem] = said(plan)
    assert says in problem


def test_secrets_at_a_wrong_key_are_never_shown() -> None:
    private = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SYNPPQ6"
    text = " ".join(
        said(replace(GOOD, recipients=[private], s3=replace(S3, endpoint="https://me:password@s3.example")))
    )
    key = "-----BEGIN OPENSSH PRIVATE KEY-----"
    text += said(replace(GOOD, s3=None, ssh=replace(SSH, host_key=key)))[0]
    assert "BEGIN" not in text
    assert "A private key must never be on a machine" in text
    assert private[20:30] not in text
    assert "password" not in text


def test_with_a_mirror_both_programs_come_from_it() -> None:
    official = backup_spec(GOOD, f"{DEFAULT_MIRROR}/")["programs"]
    assert official["age"]["place"] == "https://github.com/FiloSottile/age/releases/download/v1.3.1"
    assert set(official["age"]["sha256"]) == {"amd64", "arm64"}
    assert official["rclone"] == {
        "version": "1.75.1",
        "place": "https://github.com/rclone/rclone/releases/download/v1.75.1",
        "sha256": {},
    }
    stated = replace(GOOD, sha256={archives("age")["amd64"]: "AB" * 32})
    mirrored = backup_spec(stated, "http://releases.lab")["programs"]
    assert mirrored["age"] == {
        "version": "1.3.1",
        "place": "http://releases.lab/age/v1.3.1",
        "sha256": {"amd64": "ab" * 32},
    }


@pytest.mark.parametrize("program", ["age", "rclone"])
def test_the_lab_has_the_archives_that_members_ask_for(program: str) -> None:
    place = backup_spec(GOOD, "http://releases.lab")["programs"][program]["place"]
    path = archive_of(program)
    assert place.endswith(f"/{path.parent.parent.name}/{path.parent.name}")
    assert path.name in archives(program).values()


_SMALL = st.text(alphabet="abAB01/.:-_@ *\n'\"$=[]{}é", max_size=8)


@given(
    schedules=st.tuples(_SMALL | st.just("hourly"), _SMALL | st.just("daily") | st.just(NEVER)),
    endpoint=_SMALL.map("https://{}".format) | st.just(""),
    texts=st.tuples(_SMALL | st.just("etcd"), _SMALL, _SMALL | st.just("eu")),
    directory=st.none() | _SMALL.map("/mnt/{}".format),
    keep=st.none() | st.dictionaries(st.sampled_from(["hourly", "daily", "weekly", "yearly"]), st.integers(-2, 20000)),
)
def test_what_is_accepted_is_also_understood_by_members(
    schedules: tuple[str, str],
    endpoint: str,
    texts: tuple[str, str, str],
    directory: str | None,
    keep: dict[str, int] | None,
) -> None:
    (schedule, drill), (bucket, prefix, region) = schedules, texts
    s3 = None if directory is not None else S3Plan(bucket, endpoint, prefix, region)
    plan = BackupPlan([RECIPIENT], schedule, s3, directory, keep, drill=drill)
    if said(plan):
        return
    read = node_backup.parse(json.loads(json.dumps(backup_spec(plan, DEFAULT_MIRROR))))
    assert (read.schedule, read.recipients, read.keep, read.directory, read.drill) == (
        schedule,
        (RECIPIENT,),
        keep,
        directory or "",
        "" if drill == NEVER else drill,
    )
    # Lines of a unit, and of rclone's configuration.
    assert all(
        "\n" not in text for text in (read.schedule, read.drill, read.directory, str(read), *(read.s3 or {}).values())
    )
    assert ".." not in read.path.split("/")


@given(
    texts=st.tuples(_SMALL | st.just("backup.lab"), _SMALL | st.just("etcd"), _SMALL.map("/srv/{}".format)),
    key=_SMALL.map(HOST_KEY.__add__) | _SMALL,
    port=st.integers(-2, 70000),
)
def test_what_is_accepted_of_another_machine_is_one_setting_each_for_rclone(
    texts: tuple[str, str, str], key: str, port: int
) -> None:
    plan = BackupPlan([RECIPIENT], ssh=SshPlan(*texts, key, port, private_key=True))
    if said(plan):
        return
    read = node_backup.parse(json.loads(json.dumps(backup_spec(plan, DEFAULT_MIRROR))))
    assert read.ssh is not None
    assert (read.ssh["host"], read.ssh["user"], read.path, read.ssh["port"]) == (*texts, str(port))
    assert read.ssh["host_keys"] == " ".join(HOST_KEY.split()[:2])
    assert str(read) == plan.place


@given(st.integers(0, 57), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_a_mistyped_recipient_is_refused(at: int, char: str) -> None:
    typed = RECIPIENT[: 4 + at] + char + RECIPIENT[5 + at :]
    assert bool(said(replace(GOOD, recipients=[typed]))) == (typed != RECIPIENT)
