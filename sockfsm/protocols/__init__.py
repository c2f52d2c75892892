"""Protocols above sockets: declared as machines, read from a trace's bytes or from a live socket."""
