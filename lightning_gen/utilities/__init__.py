"""Helpers that know neither models nor configs."""
