"""Small servers and clients, written step by step with plain sockets, and the code that traces them."""
