"""The object `aws` of the configuration, typed and checked by AWS's rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.plan.aws import AwsPlan
from components.plan.aws_arguments import SHARED, aws_plan, check_arguments, wanted_types
from components.plan.cloud import WantedType

from ..arguments import arguments, camel_case
from ..clouds.config import CloudConfig, cloud_reader, note, spelling
from ..reading import Reading


@dataclass(frozen=True)
class AwsConfig(CloudConfig):
    """Network and machines on AWS, with all defaults."""

    plan: AwsPlan

    @property
    def store(self) -> Mapping[str, Any]:
        """The bucket of `aws.backupBucket`, in the provider's region."""
        bucket = self.plan.backup_bucket
        return {} if bucket is None else {"bucket": bucket.name, "region": self.plan.region or ""}

    @property
    def wanted_types(self) -> Sequence[WantedType]:
        """The instances and the bastion."""
        return wanted_types(self.plan, spelling("aws"))


def _read(reading: Reading, args: Mapping[str, Any], fields: dict[str, Any]) -> AwsConfig:
    plan = aws_plan(
        reading.cluster, args, region=_region(reading), through_another_bastion=fields["operator"].bastion is not None
    )
    if plan.backup_bucket is not None and plan.region is None:
        rule = "Members must know the region of the bucket, which a profile alone does not tell this program"
        reading.refuse("aws:region", "nothing", rule, "Set it: pulumi config set aws:region REGION")
    note(reading, "aws", SHARED, check_arguments(plan, args, arguments(reading), spelling("aws"), camel_case))
    return AwsConfig(plan=plan, args=args, **fields)


READ = cloud_reader("aws", "zones, an instance type and slots", _read)


def _region(reading: Reading) -> str | None:
    """The region of the provider; None if only a profile sets it."""
    names = ("aws:region", "AWS_REGION", "AWS_DEFAULT_REGION")
    return next((reading.settings[name] for name in names if reading.settings.get(name)), None)
