"""Scopes of API tokens."""
