"""What is mixed where: sites, species, groups, correlations; structure files."""
