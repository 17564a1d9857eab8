"""Pulumi components of a highly available external etcd cluster for Kubernetes."""

from .cluster import Certificates, EtcdCluster, EtcdClusterArgs, User
from .guard import ChangeRefusedError, previous_update
from .machine import Bastion, Machine, Ssh
from .member import EtcdMember, EtcdMemberArgs
from .pki import Authority, ClientCertificate, EtcdPki, EtcdPkiArgs, PkiMember

__all__ = [
    "Authority",
    "Bastion",
    "Certificates",
    "ChangeRefusedError",
    "ClientCertificate",
    "EtcdCluster",
    "EtcdClusterArgs",
    "EtcdMember",
    "EtcdMemberArgs",
    "EtcdPki",
    "EtcdPkiArgs",
    "Machine",
    "PkiMember",
    "Ssh",
    "User",
    "previous_update",
]
