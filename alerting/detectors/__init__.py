"""Detectors: one file per kind; none knows another."""
