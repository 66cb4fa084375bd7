"""Models to measure on: the starter, and random weights in the published shapes of SmolLM2-135M and Qwen2.5-0.5B.

What a step costs is decided by the shape and the dtype, not by what the weights say; one thing excepted: weights as they are drawn make
every token about equally likely, and a nucleus tens of thousands of tokens wide, where a trained model's holds a few. The last norm is
therefore scaled until logits have a trained model's spread. Texts are tokenized as the starter's, so that contexts are about as long
as real ones, with names that never occur filling the vocabulary up to the published size. Knows nothing of what is measured.
"""

import json
from copy import deepcopy
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from app.model import LanguageModel
from app.starter import WEIGHTS_FOLDER

SPREAD = 8.0  # standard deviation of the logits: a nucleus of 0.8 at temperature 0.5 is then a few tokens
NARROW = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 64,
}

# As in `config.json` of HuggingFaceTB/SmolLM2-135M-Instruct and Qwen/Qwen2.5-0.5B-Instruct.
SHAPES: dict[str, PreTrainedConfig] = {
    "135m": LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=8192,
        vocab_size=49152,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        initializer_range=1 / 24,
        tie_word_embeddings=True,
    ),
    "0.5b": Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=32768,
        vocab_size=151936,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        initializer_range=0.02,
        tie_word_embeddings=True,
    ),
}
NAMES = ("starter", *SHAPES)


def load(name: str, dtype: torch.dtype, device: str = "cpu") -> LanguageModel:
    """The model of a name in `NAMES`. It never ends an answer by itself, so that all sides of a benchmark write equally much."""
    if name == "starter":
        model = AutoModelForCausalLM.from_pretrained(WEIGHTS_FOLDER, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(WEIGHTS_FOLDER)
    else:
        model, tokenizer = _random(SHAPES[name], dtype), padded_tokenizer(SHAPES[name].vocab_size)
    return _wrapped(model.to(device), tokenizer, name)


def save(name: str, folder: Path) -> str:
    """Writes a model as the product loads one; returns what to call it there. The starter is there already."""
    if name == "starter":
        return name
    tokenizer = padded_tokenizer(SHAPES[name].vocab_size)
    model = _random(SHAPES[name], torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def narrow(model: LanguageModel) -> LanguageModel:
    """As many layers of the same kind, but so narrow that arithmetic and memory cost next to nothing: what is left of a step is
    Python and the launching of kernels. Of the vocabulary it keeps what texts are made of."""
    config = deepcopy(model._model.config)
    for key, value in {**NARROW, "vocab_size": len(AutoTokenizer.from_pretrained(WEIGHTS_FOLDER))}.items():
        setattr(config, key, value)
    return _wrapped(_random(config, model._model.dtype).to(model.device), model.tokenizer, "narrow")


def padded_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """The starter's tokenizer with names that no text is split into, `size` tokens in all."""
    parts = json.loads((WEIGHTS_FOLDER / "tokenizer.json").read_text())
    vocabulary = parts["model"]["vocab"]
    vocabulary |= {f"\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}{i}": i for i in range(len(vocabulary), size)}
    known = AutoTokenizer.from_pretrained(WEIGHTS_FOLDER)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)),
        pad_token=known.pad_token,
        eos_token=known.eos_token,
        chat_template=known.chat_template,
    )


@torch.no_grad()
def _random(config: PreTrainedConfig, dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    spread = float(model.get_output_embeddings().weight.float().std()) * config.hidden_size**0.5
    model.model.norm.weight.fill_(SPREAD / spread)
    return model


def _wrapped(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, name: str) -> LanguageModel:
    wrapped = LanguageModel(model, tokenizer, name, revision="benchmark")
    model.generation_config = GenerationConfig(pad_token_id=wrapped.pad_id)
    wrapped.end_ids = frozenset()
    return wrapped
