"""Plumbline: compare, click, learn. "The house" in README.md says which module does what; `app.py` is the composition root."""
