"""Real machines on one computer, run by systemd-nspawn, to try the program on and to test it.

Only `lab/` and `tests/` import this package. Use `python3 -m lab --help` from a shell and `Lab` from tests.
"""

from .errors import LabError
from .lab import Lab, MachineStatus
from .machine import Machine

__all__ = ["Lab", "LabError", "Machine", "MachineStatus"]
