"""AI feedback: who chooses between two answers under a principle, in place of a person.

Knows no page, no database and no training.
"""
