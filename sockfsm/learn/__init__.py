"""Active automata learning: the machine that the running kernel implements, asked out of it."""
