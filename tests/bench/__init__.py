"""Benchmarks: figures and ratios of one run, never assertions."""
