"""Real sockets, traced: the methods of `socket.socket` with a machine and a log beside them."""
