"""The frame every Espalier system grows on; it never names a vertical."""

__version__ = "0.1.0"
