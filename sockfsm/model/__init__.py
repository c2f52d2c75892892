"""The machines: every transition of every kind, as data, and what is derived from them."""
