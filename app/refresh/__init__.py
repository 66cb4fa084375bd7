"""Preference pairs to an adapter: objectives, batches, the trainer and the versions on disk. Knows no page and no database."""
