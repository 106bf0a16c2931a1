"""Computes training runs and evaluations. Knows nothing of Django; speaks to the platform through files only."""
