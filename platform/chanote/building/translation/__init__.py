"""Translating rows through an endpoint so that what must not change does not."""
