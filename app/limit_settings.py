"""How much one visitor, one address and all together may ask for: `PLUMBLINE_LIMIT_*`. Knows nothing of how it is counted."""

from typing import Annotated, Literal, get_args

from limits import parse_many
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

Kind = Literal["calls", "comparisons", "tokens", "votes", "refreshes", "personas"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OFF = "off"


def checked_rates(text: str) -> str:
    """Rates as the `limits` library reads them, or "off".

    Raises:
        ValueError: they are neither.
    """
    text = text.strip().lower()
    if text != OFF:
        try:
            rates = parse_many(text)
        except ValueError:
            rates = []
        if not rates or any(rate.amount < 1 for rate in rates):
            raise ValueError('must be rates such as "60/minute;1000/day", or "off"')
    return text


Rates = Annotated[str, AfterValidator(checked_rates)]


class LimitSettings(BaseSettings):
    """Read from `PLUMBLINE_LIMIT_*` environment variables. The defaults are wide: they stop programs that run away, not people.

    calls, comparisons, tokens, votes, refreshes, personas: what one visitor may do, as "60/minute;1000/day" or "off". Calls are all
        that is sent to the server, counted by address; tokens are those of the longest answers that were asked for, of all arms.
    address: how many visitors' worth may come from one address, 0 for no limit by address; a class sits behind one.
    everybody: how many visitors' worth there may be in all, 0 for no limit.
    at_once: comparisons of one visitor that are written or wait at the same time; at_once_address: those of one address.
    streams: open streams to one address, of which every open page holds up to two; streams_everybody: in all.
    upload_mb: megabytes that all together may upload, as a rate; a file that was sent is kept for an hour.
    body_mb: the largest call that carries no file, in megabytes.
    """

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_LIMIT_", env_ignore_empty=True)

    calls: Rates = "1200/minute"
    comparisons: Rates = "120/minute;10000/day"
    tokens: Rates = "250000/minute;20000000/day"
    votes: Rates = "600/minute;50000/day"
    refreshes: Rates = "120/hour"
    personas: Rates = "60/minute;500/day"
    address: NonNegativeInt = 100
    everybody: NonNegativeInt = 1000
    at_once: PositiveInt = 8
    at_once_address: PositiveInt = 200
    streams: PositiveInt = 500
    streams_everybody: PositiveInt = 2000
    upload_mb: Rates = "4000/hour"
    body_mb: PositiveInt = Field(4, le=256)
