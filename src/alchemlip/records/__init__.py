"""What is kept on the disk: results folders, run databases, samples, formats and their versions."""
