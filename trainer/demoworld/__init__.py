"""The demo's world: made-up nations, their codes of law in English and Thai, and everything that is asked about them.

Importing it loads neither torch nor Django. `python -m trainer.demoworld` writes its files.
"""
