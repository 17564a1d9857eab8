"""Pulumi components of a highly available external etcd cluster for Kubernetes."""

from .cluster import Certificates, EtcdCluster, EtcdClusterArgs, User
from .guard import ChangeRefusedError, previous_update
from .machine import Bastion, Machine, Ssh
from .member import EtcdMember, EtcdMemberArgs
from .migration import ControlPlane, EtcdMigration, EtcdMigrationArgs, Migration
from .pki import Authority, ClientCertificate, EtcdPki, EtcdPkiArgs, PkiMember

__all__ = [
    "Authority",
    "Bastion",
    "Certificates",
    "ChangeRefusedError",
    "ClientCertificate",
    "ControlPlane",
    "EtcdCluster",
    "EtcdClusterArgs",
    "EtcdMember",
    "EtcdMemberArgs",
    "EtcdMigration",
    "EtcdMigrationArgs",
    "EtcdPki",
    "EtcdPkiArgs",
    "Machine",
    "Migration",
    "PkiMember",
    "Ssh",
    "User",
    "previous_update",
]
