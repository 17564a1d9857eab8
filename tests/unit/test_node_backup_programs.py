"""rclone and age are fetched, checked and unpacked like etcd's release."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from components.node.backup import programs
from components.node.service import release
from components.node.shared import backup, paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Release
from components.plan.backup import BackupPlan, archives, backup_spec

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
MIRROR = Release(
    "3.6.16", "http://mirror.example", {}, headers={"Authorization": "Bearer x", "Proxy-Authorization": "y"}
)
ARCH = release.architecture()
AGE, RCLONE = (f"{name}/v{version}" for name, version in (("age", "1.3.1"), ("rclone", "1.75.1")))


class Web:
    """Replaces the network: URL below the mirror -> content."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: list[tuple[str, list[str]]] = []

    def open(self, url: str, mirror: Release, _: object) -> io.BytesIO:
        self.asked.append((url, sorted(mirror.headers)))
        content = self.content.get(url.removeprefix(f"{MIRROR.mirror}/"))
        if content is None:
            raise NodeError(f"{url} answers 404", "")
        return io.BytesIO(content)

    def serve(self, folder: str, program: str, data: bytes) -> None:
        name = archives(program)[ARCH]
        self.content |= {f"{folder}/{name}": data}
        self.content |= {f"{folder}/SHA256SUMS": f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode()}


def tar(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for path in ("../escape", *names):
            entry = tarfile.TarInfo(path)
            entry.size = 3
            packed.addfile(entry, io.BytesIO(b"age" if path.endswith("/age") else b"key"))
    return buffer.getvalue()


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("../escape", b"x")
        packed.writestr(name, b"rclone")
    return buffer.getvalue()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Web:
    found = Web()
    found.serve(AGE, "age", tar("age/age", "age/age-keygen"))
    found.serve(RCLONE, "rclone", zipped(f"rclone-v1.75.1-linux-{ARCH}/rclone"))
    monkeypatch.setattr(programs, "open_url", found.open)
    monkeypatch.setattr(paths, "BACKUP_PROGRAMS", tmp_path / "backup")
    monkeypatch.setattr("components.node.shared.files.os.fchown", lambda *_: None)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    return found


def wanted(mirror: str = MIRROR.mirror, **sha256: str) -> backup.Backup:
    plan = BackupPlan([RECIPIENT], directory="/mnt/x", sha256={archives(k)[ARCH]: v for k, v in sha256.items()})
    return backup.parse(backup_spec(plan, mirror))


def there() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths.BACKUP_PROGRAMS.iterdir() if path.suffix != ".json"}


def test_both_are_installed_once_and_again_when_damaged(web: Web) -> None:
    paths.BACKUP_PROGRAMS.mkdir()
    (paths.BACKUP_PROGRAMS / "age-v1.0.0").write_bytes(b"old")
    programs.ensure(wanted(), MIRROR)
    assert there() == {"age-v1.3.1": b"age", "age-keygen-v1.3.1": b"key", "rclone-v1.75.1": b"rclone"}
    assert programs.path(wanted(), "age").stat().st_mode & 0o777 == 0o755
    asked = len(web.asked)
    assert all(headers == ["Authorization", "Proxy-Authorization"] for _, headers in web.asked)
    programs.ensure(wanted(), MIRROR)
    assert len(web.asked) == asked
    programs.path(wanted(), "age").write_bytes(b"agf")
    programs.path(wanted(), "age-keygen").unlink()  # as an earlier version of this program has left it
    programs.ensure(wanted(), MIRROR)
    assert there() == {"age-v1.3.1": b"age", "age-keygen-v1.3.1": b"key", "rclone-v1.75.1": b"rclone"}


def test_another_checksum_installs_nothing(web: Web) -> None:
    with pytest.raises(NodeError, match="the specification says abab"):
        programs.ensure(wanted(age="ab" * 32), MIRROR)
    assert there() == {}


def test_an_archive_without_the_program_installs_nothing(web: Web) -> None:
    web.serve(AGE, "age", tar("age/other"))
    with pytest.raises(NodeError, match="is not an archive with age and age-keygen"):
        programs.ensure(wanted(), MIRROR)
    assert there() == {}


def test_headers_of_the_mirror_are_sent_to_no_other_server(web: Web) -> None:
    """That of the proxy is for the way there."""
    with pytest.raises(NodeError, match="answers 404"):
        programs.ensure(wanted("https://github.com/etcd-io/etcd/releases/download"), MIRROR)
    assert web.asked == [
        (
            f"https://github.com/FiloSottile/age/releases/download/v1.3.1/{archives('age')[ARCH]}",
            ["Proxy-Authorization"],
        )
    ]
