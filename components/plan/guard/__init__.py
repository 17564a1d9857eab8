"""Whether a change can be made in one update without a moment that could cost the quorum.

Decided before anything is touched, and pure: from what the last update left (`State`, a stack output) and what is
wanted. `etcd-node` decides again on the machines, from what is there.
"""

from .judge import Verdict, judge
from .state import NOTHING, State, read_state, wanted_state
from .steps import Step

__all__ = ["NOTHING", "State", "Step", "Verdict", "judge", "read_state", "wanted_state"]
