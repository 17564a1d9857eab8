"""Stand-ins for the Pulumi plugins `command`, `tls`, `hcloud` and `aws`, for computers without the official ones.

With `lab/plugins/bin` on PATH, the engine finds `pulumi-resource-command` and the others there. The official plugins
are always preferred; `lab/README.md` lists what a stand-in does not do.

The modules here use relative imports only: the programs in `bin/` import this folder without its parent, which
would load the whole lab.
"""
