"""Healthcare: disease diagnosis, health risk, medical records and drug recommendation."""
