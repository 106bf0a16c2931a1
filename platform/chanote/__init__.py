"""The platform: decides, remembers and shows. Never imports torch."""

__version__ = "0.1.0"
