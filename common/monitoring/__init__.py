"""Is the world still the one the model was built on? Drift, data quality, live performance, when to retrain.

Offline: `check.check_window(reference, frame) -> MonitorReport`, and `espalier monitor` (`cli`).
In a service: `online.Monitor`, with `gauges` for Prometheus and `page` for people.
`reference` is a bundle's `reference.json` everywhere. Importing this package imports nothing else.
"""
