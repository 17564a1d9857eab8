"""The stand-in for the plugin `aws`: networks, instances, volumes, buckets and roles of an emulated AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..server import Plugin
from .base import AwsResource
from .bucket import Bucket, Encryption, Lifecycle, ObjectLock, Policy, PublicAccessBlock, Versioning
from .cloud import Cloud, settings
from .groups import EgressRule, IngressRule, SecurityGroup
from .iam import InstanceProfile, Role, RolePolicy
from .image import get_ami, get_offerings
from .instance import Eip, Instance, NetworkInterface
from .instance_type import get_instance_type
from .network import InternetGateway, NatGateway, Route, RouteTable, RouteTableAssociation, Subnet, Vpc
from .volume import Volume, VolumeAttachment

VERSION = "7.51.1"

_TYPES: Mapping[str, Callable[[str, Cloud], AwsResource]] = {
    "ec2/vpc:Vpc": Vpc,
    "ec2/subnet:Subnet": Subnet,
    "ec2/internetGateway:InternetGateway": InternetGateway,
    "ec2/routeTable:RouteTable": RouteTable,
    "ec2/route:Route": Route,
    "ec2/routeTableAssociation:RouteTableAssociation": RouteTableAssociation,
    "ec2/natGateway:NatGateway": NatGateway,
    "ec2/securityGroup:SecurityGroup": SecurityGroup,
    "vpc/securityGroupIngressRule:SecurityGroupIngressRule": IngressRule,
    "vpc/securityGroupEgressRule:SecurityGroupEgressRule": EgressRule,
    "ec2/networkInterface:NetworkInterface": NetworkInterface,
    "ec2/instance:Instance": Instance,
    "ec2/eip:Eip": Eip,
    "ebs/volume:Volume": Volume,
    "ec2/volumeAttachment:VolumeAttachment": VolumeAttachment,
    "s3/bucket:Bucket": Bucket,
    "s3/bucketVersioning:BucketVersioning": Versioning,
    "s3/bucketPublicAccessBlock:BucketPublicAccessBlock": PublicAccessBlock,
    "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Encryption,
    "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Lifecycle,
    "s3/bucketPolicy:BucketPolicy": Policy,
    "s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": ObjectLock,
    "iam/role:Role": Role,
    "iam/rolePolicy:RolePolicy": RolePolicy,
    "iam/instanceProfile:InstanceProfile": InstanceProfile,
}


def make_plugin() -> Plugin:
    """The plugin, not yet configured with an account."""
    cloud = Cloud()
    resources = {f"aws:{name}": kind(f"aws:{name}", cloud) for name, kind in _TYPES.items()}
    functions = {
        "aws:ec2/getAmi:getAmi": get_ami(cloud),
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": get_offerings(cloud),
        "aws:ec2/getInstanceType:getInstanceType": get_instance_type(cloud),
    }
    return Plugin("aws", VERSION, resources, settings, cloud.configure, functions)
