"""One checkpoint behind OpenAI's API: `python -m trainer serve`."""
