"""Answers of a teacher: sampled, valued by rewards, chosen among."""
