"""Command line, config file and wiring: the only package that knows all others."""

__version__ = "0.1.0"
