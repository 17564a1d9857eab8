"""From configuration to components: reads and checks the keys, then builds the stack. One folder per platform."""
