"""Machines: the metadata service of EC2, and the firewall of public servers at Hetzner."""

from pulumi_policy import ResourceValidationArgs

from .rule import Findings, Schemas, Settings, resource_policy

_HOPS: Schemas = {
    "hops": {
        "type": "integer",
        "minimum": 1,
        "maximum": 64,
        "default": 1,
        "description": "The largest hop limit. With 2, containers behind a bridge reach the service, too.",
    }
}


def _metadata(args: ResourceValidationArgs, settings: Settings, findings: Findings) -> None:
    options = args.props.get("metadataOptions") or {}
    if options.get("httpEndpoint") == "disabled":
        return
    where, most = f"`metadataOptions` of {args.name}", int(settings["hops"])
    with findings.if_known():
        if options.get("httpTokens") != "required":
            findings.violated(
                f"{where}: IMDSv1 is allowed. A program that can be tricked into sending a request then reveals the "
                'user data and the credentials of the machine. Set `httpTokens` to "required".'
            )
    with findings.if_known():
        hops = options.get("httpPutResponseHopLimit")
        # The default of the account or of the image is not visible here.
        if hops is None or int(hops) > most:
            shown = "not set" if hops is None else str(int(hops))
            findings.violated(
                f"{where}: `httpPutResponseHopLimit` is {shown}, so containers may reach the service. Set it to {most}."
            )


def _behind_firewall(args: ResourceValidationArgs, _: Settings, findings: Findings) -> None:
    # Without the input, Hetzner gives a server both addresses.
    nets = args.props.get("publicNets")
    public = not nets
    for net in findings.known(nets):
        public = public or any(net.get(key) is not False for key in ("ipv4Enabled", "ipv6Enabled"))
    if public and not args.props.get("firewallIds"):
        findings.violated(
            f"The server {args.name} has a public address and no firewall, so everybody reaches its ports. Set "
            "`firewallIds`, or disable the public addresses in `publicNets`."
        )


METADATA = resource_policy(
    "imdsv2-only",
    "The metadata service of EC2 requires a token, which does not leave the machine.",
    {"aws:ec2/instance:Instance": _metadata},
    _HOPS,
)
FIREWALL = resource_policy(
    "public-servers-behind-firewall",
    "A public server at Hetzner has a firewall.",
    {"hcloud:index/server:Server": _behind_firewall},
    {},
)
