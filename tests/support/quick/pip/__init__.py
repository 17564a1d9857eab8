"""Replaces pip when tests start the engine."""
