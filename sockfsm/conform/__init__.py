"""Compares the machines with the running kernel, sequence of calls by sequence of calls."""
