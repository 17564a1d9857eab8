"""Takes over the configuration of a stack from a fork's pull request, and nothing else of it.

.venv/bin/python ci/fork.py STACK NUMBER COMMIT    # COMMIT is the one that was reviewed

It writes Pulumi.STACK.yaml. The program, its requirements and this file stay those of the default branch, so that no
code of a fork runs where secrets are. A configuration can do harm, too: it could send a token to another address, or
show a secret by moving it. So only plain values of the program's own keys are taken over.
"""

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from api import ApiError, connect

_PROGRAM = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))["name"]


class RefusedError(Exception):
    """The pull request changes more than plain values."""


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    stack, pull, commit = arguments
    file = Path(f"Pulumi.{stack}.yaml")
    try:
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise RefusedError(f"{commit!r} is not a whole commit; give all 40 digits of the one that was reviewed")
        api = connect()
        if (head := api.head(int(pull))) != commit:
            raise RefusedError(f"{pull} now ends with {head}, which was not reviewed")
        if others := sorted(path for path in api.files(int(pull)) if not re.fullmatch(r"Pulumi\.[\w-]+\.yaml", path)):
            raise RefusedError(
                f"{pull} changes {', '.join(others)}, which is code. Push it to a branch of your own instead"
            )
        ours = yaml.safe_load(file.read_text(encoding="utf-8"))
        merged = _merged(ours, yaml.safe_load(api.content(file.name, commit)))
    except (ApiError, RefusedError, OSError, ValueError, yaml.YAMLError) as error:
        print(f"ci/fork.py: {error}", file=sys.stderr)
        return 1
    # Written anew, because another parser may read the fork's text otherwise.
    file.write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")
    return 0


def _merged(ours: dict[str, Any], theirs: Any) -> dict[str, Any]:
    if not isinstance(theirs, dict) or not isinstance(theirs.get("config"), dict):
        raise RefusedError("its file is no configuration of a stack")
    before, after = ours.pop("config"), theirs.pop("config")
    if ours != theirs:
        raise RefusedError("it changes how the stack is encrypted, or its environment")
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old != new and not key.startswith(f"{_PROGRAM}:"):
            raise RefusedError(f"it changes {key}; only keys of {_PROGRAM} can be taken over")
        if old != new and (_has_secret(old) or _has_secret(new)):
            raise RefusedError(f"it changes {key}, which has a secret")
    return {**ours, "config": after}


def _has_secret(value: object) -> bool:
    if isinstance(value, dict):
        return "secure" in value or any(map(_has_secret, value.values()))
    return isinstance(value, list) and any(map(_has_secret, value))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
