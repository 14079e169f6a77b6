"""Training helpers that more than one system uses: boosting, tuning, tracking and the registry."""
