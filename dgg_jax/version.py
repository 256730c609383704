"""The version of this library; setup reads it, and saved models name it."""

__version__ = "0.1.0"
