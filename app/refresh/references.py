"""The policy that an objective measures against, beside the one that learns: the base, an earlier state, or a moving average.

It knows adapters by name and their parameters; it knows no objective, no pairs and no texts.
"""

import torch

from app.model import LanguageModel
from app.refresh.refresh_settings import RefreshSettings


class Reference:
    """A reference for the adapter that learns; `close` forgets what it holds.

    "base" is the model with no adapter. "previous" is the policy as it began, or as it was at the last of `settings.renewals` (BPO,
    arXiv 2406.12168: the reference is the policy that generated the pairs). "ema" is the exponential moving average of the
    adapter's matrices, `decay * average + (1 - decay) * adapter` after every step (SAPO, arXiv 2405.20830; of A and B apart, as in
    the authors' code, so that it is no average of what they add to a weight).

    Args:
        model: holds the policy's adapter.
        settings: which reference, and how it moves.
        policy: the name of the adapter that learns.
        parameters: that adapter's, as they begin.
        steps: how many are meant to come.

    `adapter` is what to score or to sample with; None is the base.
    """

    def __init__(
        self,
        model: LanguageModel,
        settings: RefreshSettings,
        policy: str,
        parameters: list[torch.nn.Parameter],
        steps: int,
    ):
        self._model, self._policy, self._parameters = model, policy, parameters
        self.adapter: str | None = None
        self._renew_at: frozenset[int] = frozenset()
        if settings.reference == "base":
            return
        self.adapter = f"{policy}_reference"
        self._own = model.new_adapter(self.adapter, settings.rank, settings.seed)
        self._move(1.0)
        if settings.reference == "previous":
            self._share = 1.0
            parts = settings.renewals + 1
            self._renew_at = frozenset(round(part * steps / parts) for part in range(1, parts))
        else:
            self._share = 1.0 - settings.ema_decay
            self._renew_at = frozenset(range(1, steps + 1))

    @property
    def stays(self) -> bool:
        """Whether it never moves, so that what it says of a pair can be kept."""
        return not self._renew_at

    def after(self, step: int) -> None:
        """Moves it, if it is to, after the policy's step of that number, from 1."""
        if step in self._renew_at:
            self._move(self._share)

    def renew(self) -> None:
        """Makes it the policy as it stands."""
        self._move(1.0)

    def close(self) -> None:
        """Forgets its adapter; may be called twice."""
        if self.adapter is not None:
            self._model.drop_adapter(self.adapter)

    def _move(self, share: float) -> None:
        # This share of the way to the policy; all of it where the share is 1.
        with torch.no_grad():
            for own, learnt in zip(self._own, self._parameters, strict=True):
                own.lerp_(learnt, share)
