"""Real programs on the virtual kernel: unmodified, in one process, in virtual time."""
