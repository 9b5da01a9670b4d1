"""A relaxed crystal, and how it answers: relaxation, response, properties, scans."""
