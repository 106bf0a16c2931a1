"""Programs that run inside the containers, on the standard library alone. The service reads them as text."""
