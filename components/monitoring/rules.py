"""Prometheus' rules for one cluster, from the table of alerts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import job
from .alerts import ALERTS, RECORDED
from .expressions import RENEWAL_HOURS, filled, time


def groups(cluster_name: str, *, renewal_hours: int = RENEWAL_HOURS, speed: float = 1) -> list[dict[str, Any]]:
    """The groups of recording and alerting rules, as a rule file and a PrometheusRule have them.

    Args:
        renewal_hours: `certificates.earlyRenewalHours`.
        speed: how many times faster alerts fire, for a test that does what they are about. Ranges, times that an
            expression must hold, and ages are shorter by that; a range or an age is at least five seconds.
    """

    def expression(text: str) -> str:
        return filled(text, cluster_name, speed=speed, renewal_hours=renewal_hours)

    recorded = [{"record": name, "expr": expression(text)} for name, text in RECORDED.items()]
    alerts = [
        {
            "alert": alert.name,
            "expr": expression(alert.expr),
            **({"for": time(alert.hold, speed)} if alert.hold != "0s" else {}),
            # The cluster is also a label of the alerts that aggregate it away.
            "labels": {"severity": alert.severity, "cluster": cluster_name},
            "annotations": {
                "summary": alert.summary,
                "description": f"Cause: {alert.cause} Consequence: {alert.consequence}",
                "commands": "\n".join(alert.commands),
                "manual": f"docs/{alert.page}",
            },
        }
        for alert in ALERTS
    ]
    name = job(cluster_name)
    return [{"name": f"{name}.recorded", "rules": recorded}, {"name": f"{name}.alerts", "rules": alerts}]


def text(found: Sequence[Mapping[str, Any]]) -> str:
    """A file for `rule_files`, YAML.

    Args:
        found: result of `groups`.
    """
    lines = ["groups:"]
    for group in found:
        lines += [f"  - name: {json.dumps(group['name'])}", "    rules:"]
        for rule in group["rules"]:
            mark = "-"
            for key, value in rule.items():
                if isinstance(value, str):
                    lines.append(f"      {mark} {key}: {json.dumps(value)}")
                else:
                    lines.append(f"      {mark} {key}:")
                    lines += [f"          {name}: {json.dumps(each)}" for name, each in value.items()]
                mark = " "
    return "".join(f"{line}\n" for line in lines)
