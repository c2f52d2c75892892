"""What one run left: its processes, sockets, calls, transitions, waits and packets."""
