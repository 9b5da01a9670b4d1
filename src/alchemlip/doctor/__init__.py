"""What of alchemlip works on this machine: packages, potentials, GPU, threads, folder."""
