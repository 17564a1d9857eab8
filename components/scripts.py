"""Shell scripts that put files in place."""

from collections.abc import Mapping

_SCRIPT = """\
#!/bin/sh
# {about}
set -eu
umask 077
put() {{ # MODE FILE: replaces it at once, so that nothing reads a part of it
    (umask 022 && mkdir -p "${{2%/*}}")
    cat >"$2.new"
{owner}    chmod "$1" "$2.new"
    mv "$2.new" "$2"
}}
main() {{ # a script that arrives cut off is an error of syntax, before anything is written
"""


def putting(contents: Mapping[str, str], modes: Mapping[str, str], about: str, group: str = "") -> str:
    """A shell script for root that writes the files.

    Args:
        contents: path -> PEM or other lines; a line break at the end is added if there is none.
        modes: path -> mode, in octal digits.
        about: what the script does and where it must run, one line.
        group: the group of the files, which must exist. Default: that of root.

    Raises:
        ValueError: a line of a file would end its here-document.
    """
    owner = f'    chgrp {group} "$2.new"\n' if group else ""
    parts = [_SCRIPT.format(about=about, owner=owner)]
    for path, content in contents.items():
        lines = content.strip().splitlines()
        if "END" in lines:
            raise ValueError(f"The content of {path} must be PEM.")
        parts.append("\n".join([f"put {modes[path]} {path} <<'END'", *lines, "END\n"]))
    return "".join([*parts, "}\nmain\n"])
