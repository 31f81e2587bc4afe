"""Repeatable measurements against the floor and against peers; never part of the tests."""
