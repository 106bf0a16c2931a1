"""Agents behind an OpenAI-compatible endpoint: the episode loop of training, with turns that somebody else samples."""
