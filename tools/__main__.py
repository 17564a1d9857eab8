"""`python3 -m tools NAME...`: makes sure that this computer has each tool; prints its location on standard output."""

from __future__ import annotations

import argparse
import sys

from tools.backups import ensure_backups
from tools.base import ToolError
from tools.etcd import ensure_etcd
from tools.kubeadm import VERSION as KUBEADM
from tools.kubeadm import ensure_kubeadm
from tools.kubernetes import ensure_kubernetes
from tools.languages import ensure_languages
from tools.packages import ensure_packages
from tools.prometheus import ensure_alertmanager, ensure_operator_crds, ensure_prometheus, ensure_strace
from tools.pulumi import ensure_pulumi
from tools.python import ensure_python
from tools.workflows import ensure_actionlint, ensure_gitlab_schema


def main(arguments: list[str]) -> int:
    """Run one tool; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m tools", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    commands.add_parser("python", help="the virtual environment .venv with the pinned requirements")
    commands.add_parser("packages", help="the Debian packages of the lab (as root: installs them)")
    commands.add_parser("pulumi", help="a Pulumi CLI; prints the folder to put first on PATH")
    etcd = commands.add_parser("etcd", help="etcd release archives; prints their folders")
    etcd.add_argument("versions", nargs="+", metavar="VERSION", help="such as 3.6.16")
    commands.add_parser("kubeadm", help=f"kubeadm {KUBEADM}; prints its path")
    commands.add_parser("kubernetes", help=f"Kubernetes {KUBEADM}, programs and images; prints their folder")
    commands.add_parser("backups", help="archives of age and rclone, and an S3 server for tests")
    commands.add_parser("languages", help="plugins of Pulumi for programs in other languages; prints their folder")
    commands.add_parser(
        "prometheus", help="Prometheus, node_exporter, strace, CRDs of the operator; prints their places"
    )
    commands.add_parser("workflows", help="actionlint, and the schema of GitLab's CI files; prints their places")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "python":
            print(ensure_python())
        elif chosen.command == "packages":
            ensure_packages()
        elif chosen.command == "pulumi":
            print(ensure_pulumi())
        elif chosen.command == "etcd":
            for version in chosen.versions:
                print(ensure_etcd(version))
        elif chosen.command == "kubeadm":
            print(ensure_kubeadm())
        elif chosen.command == "languages":
            print(ensure_languages())
        elif chosen.command == "backups":
            ensure_backups()
        elif chosen.command == "prometheus":
            print(ensure_prometheus(), ensure_alertmanager(), ensure_strace(), sep="\n")
            print(*ensure_operator_crds(), sep="\n")
        elif chosen.command == "workflows":
            print(ensure_actionlint())
            print(ensure_gitlab_schema())
        elif chosen.command == "kubernetes":
            print(ensure_kubernetes())
    except ToolError as error:
        print(f"tools {chosen.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
