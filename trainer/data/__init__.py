"""Rows of datasets on their way to batches: read, rendered to tokens, mixed, packed."""
