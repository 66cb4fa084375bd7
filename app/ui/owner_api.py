"""The endpoints of the owner's console. Thin: the use cases check, authorise and work."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from app.services import Services
from app.ui.api import errors_for_the_client


def add_owner_endpoints(services: Services) -> None:
    """Adds `/gauges`, `/people`, `/ban`, `/lift_ban` and `/server_log` to the page that is being built."""

    def gauges(token: str = "") -> dict[str, Any]:
        """How the server is doing: comparisons running and waiting, bytes of cache, memory, disk and database, the sync.

        Args:
            token: the owner's, where one is set.
        """
        with errors_for_the_client():
            return asdict(services.owner.gauges(token))

    def people(token: str = "") -> list[dict[str, Any]]:
        """Everybody who voted or is banned, who chooses against the others first.

        Args:
            token: the owner's, where one is set.

        Returns:
            rater (pseudonym), name, votes, last, banned, reason; shared and agreed: clear choices on what others chose on, too, and
            how many are those of most others; chance: a one-sided binomial test of it, with Holm's correction; outlier: chance < 0.05.
        """
        with errors_for_the_client():
            found = services.bans.people(token)
        return [
            {**asdict(p.voter), "shared": p.shared, "agreed": p.agreed, "chance": p.chance, "outlier": p.outlier}
            for p in found
        ]

    def ban(rater: str, reason: str = "", token: str = "") -> dict[str, Any]:
        """From now on a rater's votes count in no pairs, exports and insights, and new ones are refused.

        Args:
            rater: how the pseudonym begins, six characters at least.
            reason: what the rater is told; may be empty.
            token: the owner's, where one is set.
        """
        with errors_for_the_client():
            return {"banned": services.bans.ban(str(rater), str(reason or ""), token)}

    def lift_ban(rater: str, token: str = "") -> dict[str, Any]:
        """Lets a rater in again, with all of their votes.

        Args:
            rater: how the pseudonym begins, six characters at least.
            token: the owner's, where one is set.
        """
        with errors_for_the_client():
            return {"lifted": services.bans.lift(str(rater), token)}

    def server_log(token: str = "") -> list[str]:
        """The last lines of the server's log, oldest first, without secrets.

        Args:
            token: the owner's, where one is set.
        """
        with errors_for_the_client():
            return services.owner.log(token)

    for function in (gauges, people, ban, lift_ban, server_log):
        gr.api(function, api_name=function.__name__, concurrency_limit=16)
