"""A scenario step by step: what there is to see at each moment, and what may come next."""
