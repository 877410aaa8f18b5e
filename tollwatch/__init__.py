"""Command line, config file and wiring: the only package that knows all others."""
