"""Plumbline: compare, click, learn. See `shared/design.md` for the house; `app.py` is the composition root."""
