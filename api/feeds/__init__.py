"""Feeds: one published contract a file."""
