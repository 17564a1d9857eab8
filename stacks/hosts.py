"""The platform `hosts`: machines that exist already, named in the configuration."""

import pulumi

from components import EtcdCluster, EtcdClusterArgs, Machine, Ssh
from components.kubernetes import cluster_api

from .config import StackConfig
