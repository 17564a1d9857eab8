"""The one exception of the lab."""


class LabError(Exception):
    """What went wrong, why, and what to do about it, in words for the person at the keyboard."""
