"""In place of pip, where tests start the engine."""
