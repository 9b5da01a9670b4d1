"""Many at a time on one device, and the bridge to torch-sim."""
