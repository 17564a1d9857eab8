"""Stand-ins for the Pulumi plugins `command` and `tls`, for computers that cannot download the official ones.

Put `lab/plugins/bin` on PATH and the engine finds `pulumi-resource-command` and `pulumi-resource-tls` there. The
official plugins are always preferred; `lab/README.md` says point by point what a stand-in does not do.

The modules here use relative imports only: the programs in `bin/` import this folder without its parent, which
loads the whole lab.
"""
