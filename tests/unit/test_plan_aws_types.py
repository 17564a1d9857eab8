"""What the names of instance types, images and volume types mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan import aws_types, cloud
from components.plan.aws_types import AwsVolume


@pytest.mark.parametrize(
    ("instance_type", "architecture"),
    [
        ("t3.medium", "amd64"),
        ("t4g.medium", "arm64"),
        ("m7i-flex.large", "amd64"),
        ("m7g.large", "arm64"),
        ("m6gd.metal", "arm64"),
        ("c7gn.16xlarge", "arm64"),
        ("im4gn.large", "arm64"),
        ("is4gen.medium", "arm64"),
        ("x2gd.medium", "arm64"),
        ("a1.large", "arm64"),
        ("g4dn.xlarge", "amd64"),
        ("g5g.xlarge", "arm64"),
        ("g6.xlarge", "amd64"),
        ("r8g.large", "arm64"),
        ("x2iedn.xlarge", "amd64"),
        ("u7in-16tb.224xlarge", "amd64"),
        ("u-6tb1.metal", "amd64"),
        ("large", None),
        ("T3.medium", None),
        ("", None),
    ],
)
def test_the_architecture_of_an_instance_type_is_in_its_name(instance_type: str, architecture: str | None) -> None:
    assert aws_types.architecture_of(instance_type) == architecture


@pytest.mark.parametrize("family", ["t2", "m4", "c3", "i3", "x1e"])
def test_a_data_volume_needs_a_nitro_instance(family: str) -> None:
    (found,) = aws_types.check_type(f"{family}.large", None, "debian-12", "instanceType", volume=True)
    assert "before Nitro" in found.rule
    assert aws_types.check_type(f"{family}.large", None, "debian-12", "instanceType", volume=False) == []


@pytest.mark.parametrize("family", ["t3", "m5", "c6i", "i4i", "t4g", "x2gd"])
def test_a_data_volume_on_a_machine_built_on_nitro_is_accepted(family: str) -> None:
    assert aws_types.check_type(f"{family}.large", None, "debian-12", "instanceType", volume=True) == []


@pytest.mark.parametrize(
    ("volume", "key", "rule"),
    [
        (AwsVolume(0), "volume.size", "1 to 65536 GiB"),
        (AwsVolume(20, "io2"), "volume.iops", "must have its IOPS set"),
        (AwsVolume(3, "io2", 300), "volume.size", "4 to 65536 GiB"),
        (AwsVolume(20, "io1", 2000), "volume.iops", "at most 50 IOPS per GiB: 1000"),
        (AwsVolume(20, "gp2", 300), "volume.iops", "follow from its size"),
        (AwsVolume(20, "gp3", 2999), "volume.iops", "3000 to 80000 IOPS"),
        (AwsVolume(20, "gp3", 10001), "volume.iops", "at most 500 IOPS per GiB: 10000"),
        (AwsVolume(20, "gp3", None, 124), "volume.throughput", "125 to 2000 MiB/s"),
        (AwsVolume(20, "gp3", None, 751), "volume.throughput", "3000 IOPS are enough for 750"),
        (AwsVolume(20, "io2", 3000, 500), "volume.throughput", "cannot be set"),
        (AwsVolume(20, "st1"), "volume.type", "gp3, gp2, io2, io1"),
        (AwsVolume(20, "gp4"), "volume.type", "gp3, gp2, io2, io1"),
    ],
)
def test_an_impossible_volume_is_refused(volume: AwsVolume, key: str, rule: str) -> None:
    (found,) = aws_types.check_volume(volume, str)
    assert found.key == key
    assert rule in found.rule
    assert found.remedy


@given(st.integers(1, 65536), st.integers(3000, 80000), st.integers(125, 2000))
def test_a_gp3_volume_must_be_within_its_ratios(size: int, iops: int, throughput: int) -> None:
    sound = iops <= max(3000, 500 * size) and 4 * throughput <= iops
    assert sound == (not aws_types.check_volume(AwsVolume(size, "gp3", iops, throughput), str))


@given(st.integers(1, 65536))
def test_a_gp3_volume_of_any_size_can_use_defaults(size: int) -> None:
    assert aws_types.check_volume(AwsVolume(size), str) == []


@pytest.mark.parametrize("architecture", cloud.ARCHITECTURES)
@pytest.mark.parametrize("image", aws_types.IMAGES)
def test_every_named_image_exists_for_every_architecture(image: str, architecture: str) -> None:
    assert aws_types.IMAGES[image].names[architecture]
    assert aws_types.check_image(image, "image") == []


@pytest.mark.parametrize("text", ["ami-", "ami-xyz", "0123456789abcdef0", "ami-0123456789abcdef01"])
def test_an_invalid_id_is_refused(text: str) -> None:
    (found,) = aws_types.check_ami(text, "ami")
    assert "8 or 17 digits" in found.rule
