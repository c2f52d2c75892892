"""Active automata learning: learns the machine that the running kernel implements."""
