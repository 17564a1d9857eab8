"""The components as a Pulumi plugin, for programs in other languages.

`provider` hosts them, `descriptions` reads the texts of the schema from docstrings, `values` renames and converts
inputs and outputs, `refusals` maps refused arguments to the caller's properties.
"""

import sys

from pulumi.provider import main

from .provider import Provider


def serve(version: str) -> None:
    """Serves the components until the engine ends this process.

    Args:
        version: of this package, `X.Y.Z`.
    """
    main(Provider(version), sys.argv[1:])
