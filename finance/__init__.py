"""Finance: credit scoring, fraud detection, customer service and speech recognition."""
