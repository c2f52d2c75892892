"""The simulator: the machines' rules in a world without a kernel."""
