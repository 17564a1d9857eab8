"""The lab's only exception."""


class LabError(Exception):
    """What went wrong, why, and what to do; printed as it is."""
