"""The programs and images of a control plane."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tools import kubeadm
from tools.base import ToolError
from tools.download import sha256
from tools.gobuild import module_folder
from tools.kubeadm import PROGRAMS, VERSION, ensure_kubeadm, ensure_programs
from tools.kubernetes import image_names, pack_images

REGISTRY = "registry.example.com"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with a release's programs, on an amd64 computer with an empty cache and no go."""
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(kubeadm, "RELEASES", (tmp_path / "releases").as_uri())
    folder = tmp_path / "releases" / f"v{VERSION}" / "bin" / "linux" / "amd64"
    folder.mkdir(parents=True)
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} v{VERSION}\n")
        (folder / f"{name}.sha256").write_text(sha256(folder / name))
    return folder


def test_official_programs_are_checked_against_the_files_beside_them(served: Path) -> None:
    folder = ensure_programs(*PROGRAMS)
    assert {path.name for path in folder.iterdir()} == set(PROGRAMS)
    for path in folder.iterdir():
        assert path.read_bytes() == (served / path.name).read_bytes()
        assert path.stat().st_mode & 0o777 == 0o755


def test_a_program_with_a_wrong_checksum_is_not_used(served: Path) -> None:
    (served / "kubelet").write_text("#!/bin/sh\necho other\n")
    with pytest.raises(ToolError, match="kubelet has the SHA-256"):
        ensure_programs(*PROGRAMS)


def test_only_missing_programs_are_got(served: Path) -> None:
    ensure_kubeadm()
    (served / "kubeadm").unlink()
    assert (ensure_programs("kubeadm", "kubectl") / "kubectl").is_file()


def test_the_module_builds_every_program() -> None:
    text = (module_folder("kubernetes") / "go.mod").read_text()
    assert [name for name in PROGRAMS if f"k8s.io/kubernetes/cmd/{name}\n" not in text] == []


def test_the_images_of_a_control_plane_are_those_that_kubeadm_names(tmp_path: Path) -> None:
    names = [f"{REGISTRY}/{name}:v{VERSION}" for name in ("kube-apiserver", "kube-controller-manager")]
    names += [f"{REGISTRY}/kube-scheduler:v{VERSION}", f"{REGISTRY}/pause:3.10"]
    others = [f"{REGISTRY}/coredns/coredns:v1", f"{REGISTRY}/kube-proxy:v{VERSION}", f"{REGISTRY}/etcd:3.6.8-0"]
    program = tmp_path / "kubeadm"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(others + names)}\n")
    program.chmod(0o755)
    assert image_names(program) == names


def test_an_image_has_one_layer_with_its_programs(tmp_path: Path) -> None:
    programs = [tmp_path / name for name in ("etcd", "etcdctl")]
    for program in programs:
        program.write_bytes(b"program")
    pack_images({f"{REGISTRY}/etcd:1": programs}, tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as archive:

        def content(name: str) -> bytes:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()

        [entry] = json.loads(content("manifest.json"))
        assert entry["RepoTags"] == [f"{REGISTRY}/etcd:1"]
        config = json.loads(content(entry["Config"]))
        layer = content(entry["Layers"][0])
    assert config["config"]["Entrypoint"] == ["/usr/local/bin/etcd"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    (tmp_path / "layer.tar").write_bytes(layer)
    with tarfile.open(tmp_path / "layer.tar") as inner:
        found = [(member.name, member.mode, member.size) for member in inner.getmembers()]
    assert found == [(f"usr/local/bin/{program.name}", 0o755, 7) for program in programs]
