"""Manufacturing: visual inspection, anomaly detection, production scheduling and predictive maintenance."""
