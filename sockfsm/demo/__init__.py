"""Small servers and clients, written step by step with plain sockets, and what traces them."""
