"""Stacks of the platform aws on the emulated cloud, for tests."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.clouds import AwsCloud, CloudMachine
from lab.engine import environment

from .cloud_stacks import FILES
from .stacks import REPO, Stack

SLOTS = ("etcd-1", "etcd-2", "etcd-3")
EXAMPLE: dict[str, Any] = yaml.safe_load((REPO / "Pulumi.aws.yaml").read_text())["config"]
KEY = "external-etcd:aws"
_DEBIAN = {"Owners": ["136693071363"], "Filters": [{"Name": "name", "Values": ["debian-12-amd64-*"]}]}


class AwsStacks:
    """Makes stacks on one emulated cloud.

    Attributes:
        cloud: the cloud.
    """

    def __init__(self, cloud: AwsCloud, directory: Path) -> None:
        self.cloud = cloud
        self._directory = directory
        self._environ = {**environment(directory / "engine"), **cloud.environment()}
        self._beside: list[str] = []
        self._groups: list[str] = []

    def new(self, cluster: str, slots: int = 3, keys: dict[str, Any] | None = None, **changes: Any) -> Stack:
        """The example, changed where the emulated cloud is not the real one: mirror, and who the operator is.

        Args:
            cluster: name of the stack and of its cluster.
            slots: how many.
            keys: further keys of the program.
            changes: keys of the object `aws`; None takes one away.
        """
        config = copy.deepcopy(EXAMPLE)
        config["external-etcd:clusterName"] = cluster
        config["external-etcd:releaseMirror"] = "http://releases.lab"
        config |= {f"external-etcd:{name}": value for name, value in (keys or {}).items()}
        wanted = config[KEY] | {"operators": [f"{self.cloud.public[1]}/32"], **changes}
        wanted["slots"] += [{"name": f"etcd-{n}", "generation": 1} for n in range(4, slots + 1)]
        config[KEY] = {name: value for name, value in wanted.items() if value is not None}
        return Stack(self._directory / cluster, self._environ, config, FILES, "external-etcd")

    def machine(self, cluster: str, name: str) -> CloudMachine:
        """The machine of a slot, or another one of the cluster's."""
        return self.cloud.machine(f"{cluster}-{name}")

    def members(self, cluster: str) -> list[CloudMachine]:
        """The machines of the first three slots."""
        return [self.machine(cluster, slot) for slot in SLOTS]

    def left(self) -> list[str]:
        """Everything in the account, and every machine."""
        found = [f"{kind} {name}" for kind, names in self.cloud.resources().items() for name in names]
        return found + [machine.name for machine in self.cloud.machines()]

    def beside(self, name: str, stack: Stack, zone: str, group: str | None = None) -> CloudMachine:
        """A new machine in the stack's subnet of a zone that is not the program's.

        Args:
            name: its name.
            stack: is up.
            zone: the zone.
            group: the one security group that it carries. Default: one that lets nothing in and everything out.
        """
        ec2, outputs = self.cloud.client(), stack.outputs()
        if group is None:
            made = ec2.create_security_group(GroupName=name, Description=name, VpcId=outputs["network_id"])
            group = str(made["GroupId"])
            self._groups.append(group)
        image = sorted(ec2.describe_images(**_DEBIAN)["Images"], key=lambda row: row["CreationDate"])[-1]
        (row,) = ec2.run_instances(
            ImageId=image["ImageId"],
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            SubnetId=outputs["subnets"][zone]["id"],
            SecurityGroupIds=[group],
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}],
        )["Instances"]
        self._beside.append(row["InstanceId"])
        ec2.get_waiter("instance_running").wait(InstanceIds=[row["InstanceId"]], WaiterConfig={"Delay": 1})
        machine = self.cloud.machine(row["InstanceId"])
        machine.wait_for_cloud_init()
        return machine

    def remove_beside(self) -> None:
        """Takes away what `beside` made."""
        ec2 = self.cloud.client()
        if self._beside:
            ec2.terminate_instances(InstanceIds=self._beside)
            ec2.get_waiter("instance_terminated").wait(InstanceIds=self._beside, WaiterConfig={"Delay": 1})
        for group in self._groups:
            ec2.delete_security_group(GroupId=group)
        self._beside, self._groups = [], []

    def terminate(self, stack: Stack, slot: str) -> None:
        """Terminates the machine of a slot behind Pulumi's back, and waits until it is gone."""
        ec2, number = self.cloud.client(), stack.outputs()["server_ids"][slot]
        ec2.terminate_instances(InstanceIds=[number])
        ec2.get_waiter("instance_terminated").wait(InstanceIds=[number], WaiterConfig={"Delay": 1})


def raise_generation(stack: Stack, *slots: str, by: int = 1) -> None:
    """Raises the generation of these slots in the stack's configuration."""
    for slot in stack.config[KEY]["slots"]:
        slot["generation"] += by if slot["name"] in slots else 0


@pytest.fixture(scope="module")
def stacks(aws: AwsCloud, tmp_path_factory: pytest.TempPathFactory) -> AwsStacks:
    """Stacks on the module's emulated cloud."""
    return AwsStacks(aws, tmp_path_factory.mktemp("stacks"))
