"""Reading CIFs right, or refusing them with the reason; and writing mixtures as CIFs."""
