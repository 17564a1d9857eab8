"""For programs that the engine runs in tests: they end before there is garbage worth the search for it."""

import gc

gc.disable()
