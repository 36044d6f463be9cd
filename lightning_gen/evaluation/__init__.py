"""Scores of models with the protocol they were computed by, and their comparison."""

from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)
