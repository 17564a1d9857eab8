"""Answers the language host's `pip list -v --format json` before every run, without pip's half a second.

It lists only Pulumi's packages, because the host looks for no others. Any other command is an error.
"""

import json
import sys
from pathlib import Path

if sys.argv[1:] != ["list", "-v", "--format", "json"]:
    sys.exit(f"tests/support/quick has no pip for {sys.argv[1:]}")
for folder in map(Path, sys.path):
    if found := [path.name.removesuffix(".dist-info").rsplit("-", 1) for path in folder.glob("pulumi*.dist-info")]:
        print(json.dumps([{"name": name, "version": version, "location": str(folder)} for name, version in found]))
        break
