"""Statistics on votes and pairs. Knows numbers; knows no Gradio, no model and no database.

The page needs none of it to begin: only shares are here at once, the other modules load statsmodels with them.
"""

from app.insights.rates import Share, share

__all__ = ["Share", "share"]
