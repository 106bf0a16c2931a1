"""Judged tasks on boards: who judged, how far people agree, and what the scores are worth by that."""
