"""The machines beside the running kernel: every sequence of calls, compared."""
