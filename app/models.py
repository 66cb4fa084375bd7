"""The use case *change the model*: look it up, fetch it, load it beside the one that serves, let it answer a token, and only then change over.

Whatever goes wrong on the way, the old model goes on answering; comparisons that have begun finish on it. It knows no page and no storage.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jinja2 import TemplateError

from app.cache import bytes_per_token
from app.download import download
from app.errors import BusyError, InputError, ModelError, first_line
from app.memory import free_bytes
from app.model import LanguageModel
from app.pretrained import Found, find, parameters_of
from app.settings import Settings
from app.worker import Worker
from app.zero_gpu import is_lent

PRESETS = (
    "starter",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "HuggingFaceTB/SmolLM2-360M-Instruct",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen2.5-1.5B-Instruct",
)
LONGEST_NAME = 300
# What one open comparison of long texts reads: its three arms, and the plain context of the aligned one.
ROWS, TOKENS = 4, 4096
# What a model's files may make of transformers, a tokenizer or a chat template.
BAD_MODEL = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError, TemplateError),
)


@dataclass(frozen=True)
class Needs:
    """What a model takes and what there is, in bytes. `weights`: parameters times the size of one; `cache`: of one open comparison."""

    name: str
    parameters: int
    dtype: str
    weights: int
    cache: int
    free: int

    @property
    def fits(self) -> bool:
        """Whether it can be loaded beside the model that serves."""
        return self.weights + self.cache <= self.free

    def described(self) -> dict[str, Any]:
        """For the API."""
        return {**asdict(self), "fits": self.fits}


@dataclass(frozen=True)
class Progress:
    """How far a change has come; `done` and `total` are bytes while it downloads."""

    stage: Literal["looking", "downloading", "loading", "trying", "serving"]
    needs: Needs | None = None
    done: int = 0
    total: int = 0


class Models:
    """Changes the model that serves.

    Args:
        settings: device, dtype and the size of the cache.
        worker: the thread that owns models.
        serving: the model that answers now.
        authorise: raises NotAllowedError where a token is not the owner's.
        change: makes a loaded model the one that answers from then on.

    Attributes:
        before: the name of the model that served before the last change; empty where there was none.
    """

    def __init__(
        self,
        settings: Settings,
        worker: Worker,
        serving: Callable[[], LanguageModel],
        authorise: Callable[[str], None],
        change: Callable[[LanguageModel], None],
    ):
        self._settings, self._worker = settings, worker
        self._serving, self._authorise, self._change = serving, authorise, change
        self._one_at_a_time = threading.Lock()
        self.before = ""

    @property
    def now(self) -> str:
        """The name of the model that serves."""
        return self._serving().name

    def needs(self, name: str, token: str = "") -> Needs:
        """What a model takes, from its config alone; nothing else is downloaded.

        Args:
            name: starter, a folder or a hub id.
            token: the owner's, where one is set.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: no name. ModelError: it is not found, or it is no model for text.
        """
        self._authorise(token)
        return self._needs(self._find(name))

    def choose(self, name: str, token: str = "") -> Iterator[Progress]:
        """Changes to a model; yields how far it has come. Closing it before it serves leaves the old one.

        Args:
            name: starter, a folder or a hub id.
            token: the owner's, where one is set.

        Raises:
            NotAllowedError, InputError: as `needs`.
            BusyError: another change is on its way.
            ModelError: it cannot be fetched or loaded, does not fit, or does not answer; the old one goes on.
        """
        self._authorise(token)
        if not self._one_at_a_time.acquire(blocking=False):
            raise BusyError("another model is being loaded just now; please wait until it serves")
        try:
            with self._the_old_one_goes_on(name):
                yield from self._steps(name)
        finally:
            self._one_at_a_time.release()

    def _steps(self, name: str) -> Iterator[Progress]:
        yield Progress("looking")
        if is_lent():
            raise ModelError(
                "a ZeroGPU Space keeps the model that it started with; set PLUMBLINE_MODEL in its settings, and it starts again"
            )
        found = self._find(name)
        needs = self._needs(found)
        if not needs.fits:
            raise ModelError(
                f"the model {found.name!r} needs {_gb(needs.weights + needs.cache)} beside the one that serves, and {_gb(needs.free)} are free; "
                "choose a smaller one, or set PLUMBLINE_MODEL and start again"
            )
        if not found.is_local:
            for done, total in download(found.source):
                yield Progress("downloading", needs, done, total)
        yield Progress("loading", needs)
        model = LanguageModel.load(found.name, self._settings.device, self._settings.dtype)
        yield Progress("trying", needs)
        self._worker.call(lambda: _try(model))
        before = self.now
        self._change(model)
        self.before = before if before != self.now else self.before
        yield Progress("serving", needs)

    def _find(self, name: str) -> Found:
        name = str(name or "").strip()
        if not 0 < len(name) <= LONGEST_NAME:
            raise InputError(
                f"the model's name is {len(name)} characters long, of at most {LONGEST_NAME}; give starter, a folder or a hub id"
            )
        return find(name, self._settings.device, self._settings.dtype)

    def _needs(self, found: Found) -> Needs:
        try:
            parameters = parameters_of(found.config)
            cache = bytes_per_token(found.config, found.dtype.itemsize) * ROWS * TOKENS
        except BAD_MODEL as error:
            raise ModelError(f"the config of the model {found.name!r} makes no model: {first_line(error)}") from error
        return Needs(
            found.name,
            parameters,
            str(found.dtype).removeprefix("torch."),
            parameters * found.dtype.itemsize,
            min(cache, self._settings.cache_mb * 2**20),
            free_bytes(found.device),
        )

    @contextmanager
    def _the_old_one_goes_on(self, name: str) -> Iterator[None]:
        try:
            yield
        except ModelError as error:
            raise ModelError(f"{error} (The model {self.now!r} goes on answering.)") from error
        except BAD_MODEL as error:
            what = "there was not enough memory" if _is_out_of_memory(error) else first_line(error)[:300]
            raise ModelError(
                f"the model {str(name)[:100]!r} cannot be used: {what}. Choose another one. (The model {self.now!r} goes on answering.)"
            ) from error


@torch.inference_mode()
def _try(model: LanguageModel) -> None:
    """One token, as the first of an answer."""
    ids = torch.tensor([model.chat_ids([{"role": "user", "content": "Hello"}])], device=model.device)
    logits, _ = model.forward(ids, torch.ones_like(ids), torch.arange(ids.shape[1], device=model.device)[None], None)
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(f"the model {model.name!r} answers with numbers that are none; its weights are damaged")


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
