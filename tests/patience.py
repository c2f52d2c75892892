"""How long a test waits for what must come."""

PATIENCE = 600
"""Seconds: on the slowest machine only what never comes takes so long."""
