"""Energies and derivatives of a mixture: graph, messages, potential, ensemble, ASE calculator."""
