"""Composition design: goals, constraints, search, check with whole atoms."""
