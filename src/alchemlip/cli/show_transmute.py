"""The free energy of a transmutation in the terminal."""

from alchemlip.cli.show_free_energy import show

__all__ = ["show"]
