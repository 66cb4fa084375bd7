"""The proof: many prompts under many principles through many arms, judged, with intervals and costs.

Knows no page and no database. What is kept lies in one folder, line by line, so that a run which was killed goes on where it was.
"""
