"""etcd's image: pulled or downloaded once, checked, kept under a name of its own, and of the desired release."""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.node.service import image, registry
from components.node.shared import limits, paths
from components.node.shared.errors import NodeError
from components.node.shared.run import run
from components.node.shared.spec import Release, Spec, with_secrets
from tools.kubernetes import pack_images

from .node_support import a_spec

URL = "http://releases.lab/etcd.tar"
ETCD = "registry.example.com/etcd:3.6.16"
DIGEST = f"sha256:{'d' * 64}"
BY_DIGEST = f"registry.example.com:5000/etcd:3.6.16-0@{DIGEST}"


class Machine:
    """containerd's images, and what was done with them."""

    def __init__(self, root: Path) -> None:
        self.images: dict[str, str] = {}
        """Name -> digest."""
        self.done: list[str] = []
        self.root = root
        self.refuses = ""
        self.pulled: list[tuple[list[str], dict[str, Any]]] = []

    def run(self, argv: list[str], _timeout: float, **given: Any) -> subprocess.CompletedProcess[str]:
        if argv[-1] == "--version":
            return subprocess.run(argv, capture_output=True, text=True, check=True)
        verb, *rest = argv[3:]
        self.done.append(verb)
        said = "\n".join(self.images)
        if verb == "import":
            self._add(ETCD, "sha256:e")
        elif verb == "tag":
            self.images[rest[2]] = self.images[rest[1]]
        elif verb == "rm":
            for name in rest:
                del self.images[name]
        elif verb == "ls" and rest != ["--quiet"]:
            said = "\n".join(["REF TYPE DIGEST", *(f"{name} kind {digest} -" for name, digest in self.images.items())])
        elif verb == "pull" and rest == ["--help"]:
            said, _ = "   --local  Fetch content from local client", self.done.pop()
        elif verb == "pull":
            self.pulled.append((rest, given))
            if self.refuses:
                return subprocess.CompletedProcess(argv, 1, "", f"INFO trying next host\n{self.refuses}\n")
            self._add(rest[-1], DIGEST)
        return subprocess.CompletedProcess(argv, 0, said, "")

    def _add(self, name: str, digest: str) -> None:
        # The second name is that of the CRI plugin.
        self.images |= {name: digest, f"sha256:id-of-{digest}": digest}

    @property
    def names(self) -> list[str]:
        """Names of images that are no IDs."""
        return [name for name in self.images if not name.startswith("sha256:")]


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """With etcd's image and another one."""
    (tmp_path / "etcd").write_text("#!/bin/sh\n")
    target = tmp_path / "images.tar"
    names = {"registry.example.com/pause:3.10": "etcd", "registry.example.com/etcd:3.6.16": "etcd"}
    pack_images({name: [tmp_path / program] for name, program in names.items()}, target)
    return target.read_bytes()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bytes) -> Machine:
    """A machine whose image has etcd 3.6.16."""
    found = Machine(tmp_path / "root")
    program = found.root / "usr/local/bin/etcd"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho etcd Version: 3.6.16\necho Git SHA: 1234567\n")
    program.chmod(0o755)

    @contextlib.contextmanager
    def mounted(_name: str, _place: Path) -> Iterator[Path]:
        yield found.root

    monkeypatch.setattr(image, "run", found.run)
    monkeypatch.setattr(image, "_mounted", mounted)
    monkeypatch.setattr(registry, "run", found.run)
    monkeypatch.setattr(image, "_names", lambda: list(found.images))
    monkeypatch.setattr(image, "open_url", lambda *_: contextlib.closing(io.BytesIO(archive)))
    monkeypatch.setattr(paths, "RELEASES", tmp_path)
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    return found


def wanting(content: bytes, **changes: Any) -> Spec:
    return a_spec(service_manager="kubelet", image=f"{URL}#sha256={hashlib.sha256(content).hexdigest()}", **changes)


def test_an_image_is_loaded_once_under_the_name_of_its_checksum(machine: Machine, archive: bytes) -> None:
    spec = wanting(archive)
    image.ensure(spec)
    assert machine.names == [image.name(spec.image)]
    assert [verb for verb in machine.done if verb != "ls"] == ["import", "tag", "rm"]
    machine.done.clear()
    image.ensure(spec)
    assert machine.done == []


def test_an_image_that_is_there_is_not_used_for_another_release(machine: Machine, archive: bytes) -> None:
    """Only the version was raised, and `etcdImage` forgotten."""
    image.ensure(wanting(archive))
    release = {"version": "3.7.3", "mirror": "http://releases.lab", "sha256": {}}
    with pytest.raises(NodeError, match=r"has etcd 3\.6\.16, and the configuration says 3\.7\.3"):
        image.ensure(wanting(archive, release=release))
    assert machine.names == [image.name(wanting(archive).image)], "the running member's"


def test_what_a_killed_check_has_mounted_is_unmounted(machine: Machine, archive: bytes) -> None:
    image.ensure(wanting(archive))
    machine.done.clear()
    place = paths.RUN / "image-0123"
    place.mkdir(parents=True)
    image.ensure(wanting(archive))
    assert machine.done == ["unmount"]
    assert not place.exists()


@pytest.mark.parametrize(
    ("mirror", "sent"),
    [("http://releases.lab/etcd", ["Authorization", "Proxy-Authorization"]), ("http://other", ["Proxy-Authorization"])],
)
def test_headers_for_the_mirror_are_sent_to_no_other_host(
    machine: Machine, archive: bytes, monkeypatch: pytest.MonkeyPatch, mirror: str, sent: list[str]
) -> None:
    asked: list[str] = []

    def open_url(_: str, release: Release, __: object) -> Any:
        asked.extend(release.headers)
        return contextlib.closing(io.BytesIO(archive))

    monkeypatch.setattr(image, "open_url", open_url)
    spec = wanting(archive, release={"version": "3.6.16", "mirror": mirror, "sha256": {}})
    headers = {"Authorization": "secret", "Proxy-Authorization": "of the proxy"}
    image.ensure(with_secrets(spec, json.dumps({"headers": headers})))
    assert asked == sent


def test_the_check_of_an_image_permits_no_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A first start was interrupted by a power cut; the pod's guard led to the directory of its permission."""
    for each in ("RUN", "POD_START", "POD_LOG"):
        monkeypatch.setattr(paths, each, tmp_path / each)
    paths.POD_START.symlink_to(paths.RUN)
    monkeypatch.setattr(image, "run", lambda *_, **__: None)
    with image._mounted("an image", paths.RUN / "image-0123"):
        assert paths.RUN.is_dir()
        assert not paths.POD_START.exists(), "there is no log"


def test_an_archive_with_another_checksum_is_not_loaded(machine: Machine, archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"has SHA-256 .*the configuration says .*; nothing was loaded"):
        image.ensure(wanting(archive + b"x"))
    assert not machine.done
    assert not list(tmp_path.glob(".v*")), "the download is removed"


def test_an_image_of_another_release_is_removed_again(machine: Machine, archive: bytes) -> None:
    release = {"version": "3.5.35", "mirror": "http://releases.lab", "sha256": {}}
    with pytest.raises(NodeError, match=r"has etcd 3\.6\.16, and the configuration says 3\.5\.35"):
        image.ensure(wanting(archive, release=release))
    assert machine.images == {}


def test_an_image_that_was_there_before_stays(machine: Machine, archive: bytes) -> None:
    machine.images = {ETCD: "sha256:e"}
    image.ensure(wanting(archive))
    image.remove_others("")
    assert machine.names == [ETCD]


def test_an_image_for_another_architecture_is_refused(machine: Machine, archive: bytes) -> None:
    (machine.root / "usr/local/bin/etcd").write_bytes(b"\x7fELF" + bytes(60))
    with pytest.raises(NodeError, match=r"for another architecture than that of this machine \(\w+\)"):
        image.ensure(wanting(archive))
    assert machine.images == {}


def test_an_image_is_pulled_by_digest_with_a_typed_password(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", ".example.com")
    release = {"version": "3.6.16", "mirror": "http://releases.lab", "sha256": {}, "proxy": "http://proxy:3128"}
    spec = a_spec(service_manager="kubelet", image=BY_DIGEST, release=release)
    image.ensure(with_secrets(spec, '{"image_credentials": "robot$etcd:pass: word"}\n'))
    ((words, given),) = machine.pulled
    options = ["--hosts-dir=/etc/containerd/certs.d", "--user=robot$etcd", "--local"]
    assert words == [*options, f"registry.example.com:5000/etcd@{DIGEST}"]
    assert given["typed"] == "pass: word"
    assert given["env"] == dict.fromkeys(("http_proxy", "https_proxy"), "http://proxy:3128") | {
        "no_proxy": ".example.com"
    }
    assert machine.names == [f"localhost/external-etcd:{'d' * 24}"]
    image.ensure(spec)
    assert len(machine.pulled) == 1
    image.remove_others("")
    assert machine.images == {}


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("unexpected status: 401 Unauthorized", "registry.example.com:5000 refuses the pull"),
        ("pull access denied: authorization failed: no basic auth credentials", "refuses the pull"),
        ("http: server gave HTTP response to HTTPS client", "containerd does not trust registry.example.com:5000"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "does not trust"),
        ("no match for platform in manifest sha256:1: not found", "it has no image for this machine"),
        ("registry.example.com:5000/etcd@sha256:1: not found", "registry.example.com:5000 has no such image"),
        ("failed to do request: Head http://r/v2: dial tcp 1.2.3.4:443: connect: connection refused", "be reached"),
        ("failed to do request: Get https://cdn/x?X-Signature=secret: no space left", "be reached"),
        ("write: no space left on device", "ctr failed; ctr: failed: write: no space left on device"),
    ],
)
def test_a_failed_pull_says_why(machine: Machine, said: str, cause: str) -> None:
    machine.refuses = f"ctr: failed: {said}"
    spec = a_spec(service_manager="kubelet", image=BY_DIGEST)
    with pytest.raises(NodeError) as caught:
        image.ensure(spec)
    assert cause in caught.value.cause
    assert caught.value.cause.startswith(f"{BY_DIGEST} cannot be pulled: ")
    assert "secret" not in caught.value.cause
    assert machine.images == {}


def test_an_archive_without_etcd_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pack_images({"registry.example.com/pause:3.10": [tmp_path / "etcd"]}, tmp_path / "other.tar")
    content = (tmp_path / "other.tar").read_bytes()
    monkeypatch.setattr(image, "open_url", lambda *_: contextlib.closing(io.BytesIO(content)))
    with pytest.raises(NodeError, match=r"no image that is named etcd \(found: registry.example.com/pause:3.10\)"):
        image.ensure(wanting(content))


def test_a_program_reads_a_password_from_its_terminal() -> None:
    script = "import sys; assert sys.stdin.isatty(); print(input())"
    assert run([sys.executable, "-c", script], 20, typed="pass: word $x").stdout == "pass: word $x\n"


def test_a_slow_pull_is_ended_by_its_own_limit() -> None:
    """Which says what it was doing; a killed command does not."""
    verb = limits.LOCK_SECONDS + limits.DEADLINES["prepare"] + registry._SECONDS
    assert limits.killed_after("prepare") > verb


def test_secrets_of_prepare_that_are_no_texts_are_refused_without_them() -> None:
    for given in ('{"image_credentials": 1, "x": "secret"}', '{"headers": "secret"}', '{"secret'):
        with pytest.raises(NodeError) as caught:
            with_secrets(a_spec(), given)
        assert "secret" not in str(caught.value)
    assert with_secrets(a_spec(), "no object\n").image_credentials == ""


def test_only_images_of_this_program_are_removed(machine: Machine, archive: bytes) -> None:
    kept = wanting(archive).image
    machine.images = {image.name(kept): "sha256:1", "localhost/external-etcd:older": "sha256:2", "other:1": "sha256:2"}
    machine.images |= {"sha256:id-1": "sha256:1", "sha256:id-2": "sha256:2"}
    image.remove_others(kept)
    assert machine.names == [image.name(kept), "other:1"]
    image.remove_others("")
    assert list(machine.images) == ["other:1", "sha256:id-2"]
