"""Real machines on one computer, by systemd-nspawn: for trying the program and for its tests.

Nothing outside `lab/` and `tests/` imports this package. `python3 -m lab --help` is the way in for people;
`Lab` and `Machine` are the way in for tests.
"""

from .errors import LabError
from .lab import Lab, MachineStatus
from .machine import Machine

__all__ = ["Lab", "LabError", "Machine", "MachineStatus"]
