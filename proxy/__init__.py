"""Bytes in, verdict out: the only package that imports mitmproxy."""
