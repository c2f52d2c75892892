"""sockfsm: see what your sockets really do."""

__version__ = "0.1.0"
