"""Calls of which more is known than their outcome. A module of its own: the runtime needs it alone."""

from __future__ import annotations

VARIANTS: dict[str, dict[str, str]] = {
    "blocking": {"mode": "blocking"},
    "timeout": {"mode": "timeout"},
    "abstract": {"address": "abstract"},
}
"""What the tracer knows of a call's environment, where that makes the same outcome lead elsewhere."""
