"""Free energies by switching along alchemical paths, with error bars."""
