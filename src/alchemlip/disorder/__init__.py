"""Order and disorder: what the composition's second derivatives say about a disordered crystal."""
