"""Stand-ins for the Pulumi plugins `command`, `tls` and `hcloud`, where the official ones cannot be downloaded.

Put `lab/plugins/bin` on PATH and the engine finds `pulumi-resource-command` and the others there. The official plugins
are always preferred; `lab/README.md` says point by point what a stand-in does not do.

The modules here use relative imports only: the programs in `bin/` import this folder without its parent, which
loads the whole lab.
"""
