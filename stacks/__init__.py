"""Composition roots: from typed configuration to components, one module per platform."""
