"""Serves the policy pack; Pulumi starts it with `--policy-pack`. docs/policy.md describes it."""

from etcd_policies.pack import serve

serve()
