"""Scoring a policy on tasks: rows become items, items become scored samples, samples become a mean."""
