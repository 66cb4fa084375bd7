"""Tiny models made on the spot, of several architectures, with a tokenizer trained on a few lines. Random weights, real code."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

TEXT = [
    "Boil the water, add the tea and wait four minutes before you pour it.",
    "You are a helpful assistant. The reader is seven years old. Answer as a gruff sea captain.",
    "Why is the sky blue? Air scatters short waves more than long ones, matey.",
] * 3
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM_CHAT = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT
)
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}

CONFIGS: dict[str, tuple[PreTrainedConfig, str | None]] = {
    "llama": (LlamaConfig(**SIZE, num_key_value_heads=2), CHAT),
    "qwen2": (Qwen2Config(**SIZE, num_key_value_heads=2), CHAT),
    "gemma": (GemmaConfig(**SIZE, num_key_value_heads=2, head_dim=8), NO_SYSTEM_CHAT),
    "gemma2": (Gemma2Config(**SIZE, num_key_value_heads=2, head_dim=8, sliding_window=16), NO_SYSTEM_CHAT),
    "gpt_neox": (GPTNeoXConfig(**SIZE), None),
    "gpt2": (GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256), None),
}
# Not among the architectures, since it is a Llama as well: one with room for long answers.
TALKER = (LlamaConfig(**{**SIZE, "max_position_embeddings": 4096}, num_key_value_heads=2), CHAT)


def make_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 320 tokens with chat markers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>")
    fast.add_special_tokens({"additional_special_tokens": specials[2:]})
    fast.chat_template = template
    return fast


def save_tiny_model(kind: str, folder: Path, seed: int = 0) -> Path:
    """Writes a random model of one architecture with its tokenizer; weights large enough that texts are not uniform noise."""
    config, template = TALKER if kind == "talker" else CONFIGS[kind]
    tokenizer = make_tokenizer(template)
    config.vocab_size = len(tokenizer)
    config.eos_token_id, config.pad_token_id, config.bos_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id, None
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
