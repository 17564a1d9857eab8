"""The tests that run on every cloud, one cloud after the other, each with an emulator for the module."""

from collections.abc import Iterator

import pytest

from lab.clouds import AwsCloud, HetznerCloud
from tests.support.aws_stacks import AwsStacks
from tests.support.cloud_stacks import CloudStacks
from tests.support.hetzner_stacks import HetznerStacks
from tests.support.machines import temporary_lab


@pytest.fixture(scope="module", params=["aws", "hetzner"])
def stacks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStacks]:
    """Stacks on an emulated cloud with an empty account."""
    directory = tmp_path_factory.mktemp(request.param)
    with temporary_lab(f"{request.param}-stacks") as lab:
        cloud = AwsCloud(lab.dir).start() if request.param == "aws" else HetznerCloud(lab.dir).start()
        try:
            yield AwsStacks(cloud, directory) if isinstance(cloud, AwsCloud) else HetznerStacks(cloud, directory)
        finally:
            cloud.stop()
