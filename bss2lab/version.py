"""Version of the package, and of its numbers."""

__version__ = "0.1.0"

NUMERICS = 3
"""Raised whenever a change moves a result; CHANGELOG.md says under *Numerics* what moved."""
