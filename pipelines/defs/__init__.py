"""Dagster definitions: thin shells around the functions that do the work."""
