"""Scores with their protocol, and their comparison."""

from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)
