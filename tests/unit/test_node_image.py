"""etcd's image: downloaded once, checked, loaded under a name of its own, and of the desired release."""

import contextlib
import hashlib
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.node.service import image
from components.node.shared import paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec
from tools.kubernetes import pack_images

from .node_support import a_spec

URL = "http://releases.lab/etcd.tar"


class Machine:
    """containerd's images, by name, and what was done with them."""

    def __init__(self, root: Path) -> None:
        self.names: list[str] = []
        self.done: list[str] = []
        self.root = root

    def run(self, argv: list[str], _timeout: float, **_: object) -> subprocess.CompletedProcess[str]:
        if argv[-1] == "--version":
            return subprocess.run(argv, capture_output=True, text=True, check=True)
        verb, *rest = argv[3:]
        self.done.append(verb)
        if verb == "tag":
            assert rest[1] == "registry.example.com/etcd:3.6.16"
            self.names.append(rest[2])
        elif verb == "rm":
            self.names.remove(rest[0])
        return subprocess.CompletedProcess(argv, 0, "\n".join(self.names), "")


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
    def mounted(_name: str) -> Iterator[Path]:
        yield found.root

    monkeypatch.setattr(image, "run", found.run)
    monkeypatch.setattr(image, "_mounted", mounted)
    monkeypatch.setattr(image, "_loaded", lambda: list(found.names))
    monkeypatch.setattr(image, "open_url", lambda *_: contextlib.closing(io.BytesIO(archive)))
    monkeypatch.setattr(paths, "RELEASES", tmp_path)
    return found


def wanting(content: bytes, **changes: Any) -> Spec:
    return a_spec(service_manager="kubelet", image=f"{URL}#sha256={hashlib.sha256(content).hexdigest()}", **changes)


def test_an_image_is_loaded_once_under_the_name_of_its_checksum(machine: Machine, archive: bytes) -> None:
    spec = wanting(archive)
    image.ensure(spec)
    assert machine.names == [image.name(spec.image)]
    assert machine.done == ["import", "tag"]
    image.ensure(spec)
    assert machine.done == ["import", "tag"]


def test_an_archive_with_another_checksum_is_not_loaded(machine: Machine, archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"has SHA-256 .*the configuration says .*; nothing was loaded"):
        image.ensure(wanting(archive + b"x"))
    assert not machine.done
    assert not list(tmp_path.glob(".v*")), "the download is removed"


def test_an_image_of_another_release_is_removed_again(machine: Machine, archive: bytes) -> None:
    release = {"version": "3.5.35", "mirror": "http://releases.lab", "sha256": {}}
    with pytest.raises(NodeError, match=r"has etcd 3\.6\.16, and the configuration says 3\.5\.35"):
        image.ensure(wanting(archive, release=release))
    assert machine.names == []


def test_an_archive_without_etcd_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pack_images({"registry.example.com/pause:3.10": [tmp_path / "etcd"]}, tmp_path / "other.tar")
    content = (tmp_path / "other.tar").read_bytes()
    monkeypatch.setattr(image, "open_url", lambda *_: contextlib.closing(io.BytesIO(content)))
    with pytest.raises(NodeError, match=r"no image that is named etcd \(found: registry.example.com/pause:3.10\)"):
        image.ensure(wanting(content))


def test_only_images_of_this_program_are_removed(machine: Machine, archive: bytes) -> None:
    kept = wanting(archive).image
    machine.names = [image.name(kept), "localhost/external-etcd:older"]
    image.remove_others(kept)
    assert machine.names == [image.name(kept)]
    image.remove_others("")
    assert machine.names == []
