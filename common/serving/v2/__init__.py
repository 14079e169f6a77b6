"""The Open Inference Protocol V2 beside the typed routes, for clients that already exist."""
