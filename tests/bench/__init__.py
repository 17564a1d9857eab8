"""Benchmarks: they report figures and ratios, and assert nothing."""
