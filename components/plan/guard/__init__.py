"""Whether one update can make a change without ever risking the quorum.

Pure: compares what the last update left (`State`, a stack output) with the desired state, before anything is touched.
`etcd-node` decides again on the machines, from what is running.
"""

from .judge import Verdict, judge
from .state import NOTHING, State, read_state, wanted_state
from .steps import Step

__all__ = ["NOTHING", "State", "Step", "Verdict", "judge", "read_state", "wanted_state"]
