"""Production scheduling: plans that come fast, improve with a proven bound, are checked, and explain themselves."""
