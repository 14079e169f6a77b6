"""Metrics with intervals, fairness, stability, figures, the report and the tables made from it."""
