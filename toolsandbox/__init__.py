"""Tools that a policy calls while it samples: legal search and code. Imports neither Django nor torch."""
