"""Bytes in, verdict out: the only package that imports mitmproxy."""

from proxy.lean import leave_addons_unloaded

leave_addons_unloaded()
