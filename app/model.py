"""A causal language model of transformers with its adapters of peft: renders chats, runs forwards, holds LoRA adapters.

It knows nothing of personas, arms, objectives or the page. All calls belong on the one thread that owns the model.
"""

import inspect
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from app.adapter_blend import add_blend, copy_adapter
from app.attention import COMMON, IN_FLOAT32, keep_attention_in_float32
from app.cache import bytes_per_token, joins, new_cache
from app.errors import InputError, ModelError, first_line
from app.packed import pack_linears
from app.packed_lora import pack_adapters
from app.pretrained import load_pretrained
from app.prompts import Message

logger = logging.getLogger(__name__)

# For tokenizers without a chat template: one line a turn, as in many plain-text dialogues.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}\n\n"
    "{% else %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
LOADED_ADAPTERS = 8
WORD_MARKS = ("Ġ", "Ċ", "▁", " ", "\n")


class LanguageModel:
    """A causal language model with its tokenizer and its adapters.

    Args:
        model: a transformers causal LM in eval mode.
        tokenizer: its tokenizer.
        name: what a person calls it.
        revision: what exactly was loaded: a commit of the hub, or a digest of the weight files.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, revision: str):
        self.name, self.revision, self.tokenizer = name, revision, tokenizer
        self._model = model.eval().requires_grad_(False)
        pack_linears(self._model)
        keep_attention_in_float32(self._model)
        self._peft: PeftModel | None = None
        # By name, how to load it again; the longest unasked for first.
        self._loaded: dict[str, Callable[[], None]] = {}
        self._made_room: dict[str, Callable[[], None]] = {}
        self._active: str | None = None
        # Before any adapter wraps them. transformers' Conv1D, of GPT-2, keeps its weight the other way round.
        self.linear_layers: dict[str, tuple[int, int]] = {
            key: (layer.in_features, layer.out_features)
            if isinstance(layer, torch.nn.Linear)
            else tuple(layer.weight.shape)
            for key, layer in model.named_modules()
            if isinstance(layer, torch.nn.Linear | Conv1D)
        }
        self._keeps_last = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.takes_masks = _takes_masks(model)
        self.context_length: int = int(getattr(model.config, "max_position_embeddings", None) or 1024)
        # What the model's makers found it to need (in tokens, which this product reads as words); the starter's trainer writes it, too.
        self.no_repeat_ngram = int(model.generation_config.no_repeat_ngram_size or 0)
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self.end_ids = frozenset(int(i) for i in (*ends, tokenizer.eos_token_id) if i is not None)
        self.pad_id = int(
            tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.end_ids, default=0)
        )
        # The marks of byte-level and of sentencepiece vocabularies for a space or a line before.
        pieces = tokenizer.get_vocab().items()
        self.word_starts = frozenset(number for piece, number in pieces if piece.startswith(WORD_MARKS))
        self._template = None if tokenizer.chat_template else PLAIN_TEMPLATE
        self._has_system_role = self._system_role_works()
        self._turn_end = self._end_of_a_turn()

    @classmethod
    def load(cls, name: str = "starter", device: str = "auto", dtype: str = "auto") -> "LanguageModel":
        """Loads the starter, a local folder or a hub id; safetensors only, never code from the model's repository.

        Args:
            name: "starter", a folder, or a hub id such as "HuggingFaceTB/SmolLM2-135M-Instruct".
            device: "auto" takes CUDA where there is one.
            dtype: of the weights: "float32", "bfloat16", "float16"; "auto" takes bfloat16 where the machine computes in it and the
                model is large enough to gain.

        Raises:
            ModelError: no such folder, the hub cannot be reached or does not have it, or it is no causal LM.
        """
        return cls(*load_pretrained(name, device, dtype))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._model.device

    @property
    def joins(self) -> bool:
        """Whether rows of different length may share a cache: every layer keeps all its columns, none has a sliding window."""
        return joins(self._model.config)

    @property
    def cache_bytes_per_token(self) -> int:
        """What one token of one row takes in the key-value cache."""
        return bytes_per_token(self._model.config, self._model.dtype.itemsize)

    # --- text and tokens

    def chat_text(self, messages: list[Message]) -> str:
        """The text of a chat as this model reads it, up to where the answer begins.

        A tokenizer without a chat template gets `PLAIN_TEMPLATE`; where there is no system role, the system text is put before
        the first user message. Control tokens that a person typed are broken up, so that nobody can open a turn of their own.
        """
        return self._render([{**m, "content": self._defused(m["content"])} for m in messages])

    def chat_ids(self, messages: list[Message]) -> list[int]:
        """Token ids of `chat_text`, with the tokenizer's own beginning where the template does not write it.

        Raises:
            InputError: the chat leaves no room for an answer.
        """
        return self.text_ids(self.chat_text(messages))

    def text_ids(self, text: str) -> list[int]:
        """Token ids of a rendered chat; see `chat_ids`."""
        ids = self.tokenizer(text, add_special_tokens=self._template is not None)["input_ids"]
        while self._template is not None and ids and ids[-1] in self.end_ids:
            ids.pop()
        if len(ids) >= self.context_length:
            raise InputError(
                f"the prompt with its system text is {len(ids)} tokens long; this model reads {self.context_length - 1} at most: shorten the prompt or the persona"
            )
        return ids

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer and of the token that ends it, as they follow a chat's ids."""
        answer = self._defused(answer)
        ids = self.tokenizer(answer if self._template is None else f" {answer.lstrip()}", add_special_tokens=False)[
            "input_ids"
        ]
        return ids if self._turn_end is None else [*ids, self._turn_end]

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, special tokens left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _render(self, messages: list[Message]) -> str:
        if messages[0]["role"] == "system" and not self._has_system_role:
            system, first, *rest = messages
            messages = [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]
        return self.tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )

    def _system_role_works(self) -> bool:
        self._has_system_role = True
        probe = [{"role": "system", "content": "PROBE"}, {"role": "user", "content": "x"}]
        try:
            return "PROBE" in self._render(probe)
        except TemplateError:
            return False

    def _end_of_a_turn(self) -> int | None:
        # What follows an answer in the template: some models end a turn with a token of its own, not with the end of a text.
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "PROBE"}]
        text = self.tokenizer.apply_chat_template(turns, chat_template=self._template, tokenize=False)
        tail = self.tokenizer(text.rpartition("PROBE")[2], add_special_tokens=False)["input_ids"]
        return next((i for i in tail if i in self.end_ids), self.tokenizer.eos_token_id)

    def _defused(self, text: str) -> str:
        added = {str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        specials = [token for token in added | set(self.tokenizer.all_special_tokens) if len(token) > 1]
        while found := next((t for t in specials if t in text), None):
            text = text.replace(found, f"{found[0]} {found[1:]}")
        return text

    # --- forwards

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: object | None,
        adapter: str | None = None,
    ) -> tuple[Tensor, object]:
        """Next-token logits (rows, vocabulary) and the cache, grown by these tokens. See `decoding.batch.Forward`.

        Args:
            input_ids, position_ids: shape (rows, new tokens).
            attention_mask: shape (rows, cached + new tokens).
            cache: None to begin.
            adapter: the loaded adapter to answer with; None is the original model.
        """
        self._activate(adapter)
        cache = new_cache(self._model.config) if cache is None else cache
        extra = {"logits_to_keep": 1} if self._keeps_last else {}
        out = self._model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            **extra,
        )
        return out.logits[:, -1], out.past_key_values

    def forward_with(self, adapter: str | None) -> Callable[..., tuple[Tensor, object]]:
        """`forward`, with one adapter."""
        return partial(self.forward, adapter=adapter)

    def logits(self, input_ids: Tensor, attention_mask: Tensor, adapter: str | None) -> Tensor:
        """Logits of whole right-padded rows, shape (rows, tokens, vocabulary), differentiable in the adapter's weights."""
        self._activate(adapter)
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        return self._model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, use_cache=False
        ).logits

    def logits_at(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        rows: Tensor,
        columns: Tensor,
        adapter: str | None,
    ) -> Tensor:
        """Logits at some places of whole rows, shape (places, vocabulary), differentiable in the adapter's weights.

        Args:
            input_ids, position_ids: shape (rows, tokens).
            attention_mask: of ones and zeros, shape (rows, tokens); or, where the model `takes_masks`, whether a token (third
                dimension) sees another (fourth), shape (rows, 1, tokens, tokens).
            rows, columns: the places, shape (places,).
            adapter: the loaded adapter; None is the original model.
        """
        self._activate(adapter)
        # The head is the dearest layer of a small model, and its logits the largest tensor: it gets no more than is asked for.
        only_these = self._model.get_output_embeddings().register_forward_pre_hook(
            lambda _, inputs: (inputs[0][rows, columns][None],)
        )
        try:
            return self._model(
                input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
            ).logits[0]
        finally:
            only_these.remove()

    # --- adapters

    def new_adapter(self, name: str, rank: int, seed: int) -> list[torch.nn.Parameter]:
        """Adds a fresh LoRA on all linear layers (which changes nothing until it is trained) and returns its parameters."""
        with torch.random.fork_rng():
            # Before the seed: wrapping draws random numbers too, but only the first time.
            adapters = self._with_adapters()
            torch.manual_seed(seed)
            adapters.add_adapter(name, _lora(rank))
        self._active = "?"
        self._activate(name)
        return [p for key, p in self._model.named_parameters() if f".{name}." in key and "lora_" in key]

    def begin_as(self, name: str, folder: Path) -> None:
        """Makes a fresh adapter add what a saved one adds, exactly; it is trained from there.

        Raises:
            InputError: the saved one has a larger rank than the fresh one.
            ModelError: as `load_adapter` says.
        """
        source = f"{name}_start"
        self.load_adapter(source, folder)
        try:
            copy_adapter(self._peft, source, name)
        finally:
            self.drop_adapter(source)

    def load_adapter(self, name: str, folder: Path) -> None:
        """Makes a saved adapter available under `name`; does nothing if it is. Holds the last few; the oldest makes room, and is
        read again where somebody is still answering with it.

        Raises:
            ModelError: the folder is gone, or holds no adapter that fits this model in every tensor.
        """
        if self._is_loaded(name):
            return
        if not all((folder / file).is_file() for file in (SAFETENSORS_WEIGHTS_NAME, CONFIG_NAME)):
            # peft would look for the folder's name on the hub, and for a pickle.
            raise ModelError(
                f"the adapter in {folder} is not there any more, it may have been deleted; choose another version or the original model"
            )
        try:
            # A decode may ask for it, and what is made in inference mode could never be switched again.
            with torch.inference_mode(False):
                result = self._with_adapters().load_adapter(folder, adapter_name=name, use_safetensors=True)
            missing = [key for key in result.missing_keys if f".{name}." in key]
            if missing or result.unexpected_keys:  # which peft only warns of
                raise ValueError(f"tensors missing: {missing[:2]}, not in the model: {result.unexpected_keys[:2]}")
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
            self.drop_adapter(name)
            raise ModelError(
                f"the adapter in {folder} cannot be used with the model {self.name!r}: {first_line(error)}"
            ) from error
        self._keep(name, partial(self.load_adapter, name, folder))

    def blend_adapter(self, name: str, weights: dict[str, float], folders: dict[str, Path]) -> None:
        """Makes the weighted sum of saved adapters available under `name`; does nothing if it is, and is held as `load_adapter` does.

        Args:
            name: of the sum, without a dot.
            weights: by adapter, at least one, and few beside `LOADED_ADAPTERS`; see `app.adapter_blend`.
            folders: of each adapter.

        Raises:
            ModelError: as `load_adapter` says.
        """
        if self._is_loaded(name):
            return
        for part in weights:
            self.load_adapter(part, folders[part])
        with torch.inference_mode(False):  # as in `load_adapter`
            add_blend(self._with_adapters(), name, weights)
        self._keep(name, partial(self.blend_adapter, name, weights, folders))

    def _is_loaded(self, name: str) -> bool:
        # It was asked for, so it is the last to make room.
        if name in self._loaded:
            self._loaded[name] = self._loaded.pop(name)
        return name in self._loaded

    def _keep(self, name: str, load_again: Callable[[], None]) -> None:
        self._active = "?"
        self._loaded[name] = load_again
        while len(self._loaded) > LOADED_ADAPTERS:
            oldest = next(iter(self._loaded))
            self._made_room[oldest] = self._loaded[oldest]
            self.drop_adapter(oldest)

    def save_adapter(self, name: str, folder: Path) -> None:
        """Writes one adapter as stock peft reads it, `adapter_config.json` and safetensors, straight into `folder`."""
        config = self._peft.peft_config[name]
        path, config.base_model_name_or_path = config.base_model_name_or_path, self.name
        try:
            self._peft.save_pretrained(folder, selected_adapters=[name], save_embedding_layers=False)
        finally:
            config.base_model_name_or_path = path
        nested = folder / name
        if nested.is_dir():
            for file in nested.iterdir():
                file.replace(folder / file.name)
            nested.rmdir()
        (folder / "README.md").unlink(missing_ok=True)

    def drop_adapter(self, name: str) -> None:
        """Forgets an adapter; the original model and the others stay."""
        self._loaded.pop(name, None)
        if self._peft is not None and name in self._peft.peft_config:
            self._peft.set_adapter("unused")  # peft warns of an active adapter that goes
            self._peft.delete_adapter(name)
        self._active = "?"

    def _with_adapters(self) -> PeftModel:
        # Wrapped once, with a LoRA that stays untrained and unused: a later adapter that fails to load can then be taken
        # out again by name, and never leaves the model half wrapped.
        if self._peft is None:
            self._peft = get_peft_model(self._model, _lora(1), adapter_name="unused")
            pack_adapters(self._model)
        return self._peft

    def _activate(self, adapter: str | None) -> None:
        if self._peft is None or adapter == self._active:
            return
        if adapter is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            if adapter in self._made_room and adapter not in self._loaded:
                self._made_room[adapter]()
                del self._made_room[adapter]
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(adapter)
        self._active = adapter


def _takes_masks(model: Any) -> bool:
    # Whether a forward may be told token by token who sees whom: every layer attends to all there is, by transformers' common
    # attention, which hands a mask of four dimensions on as it stands. A sliding window would be lost with it, and a recurrent
    # layer would not look at it.
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    return (
        model._supports_attention_backend
        and model.config._attn_implementation in (COMMON, IN_FLOAT32)
        and set(kinds) == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and "position_ids" in inspect.signature(model.forward).parameters
    )


def _lora(rank: int) -> LoraConfig:
    return LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
