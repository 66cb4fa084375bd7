"""`python -m app.starter.train`: trains the starter from scratch, on the corpus in this repository and nothing else.

Standard parts: tokenizers' BPE, transformers' Llama, torch's Muon and AdamW with a cosine schedule, packed rows with a
block-diagonal mask, bf16 autocast and `torch.compile`. It knows the corpus and the model's shape; it does not know decoding, storage or the page.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from app.starter import STARTER_FOLDER, WEIGHTS_FOLDER
from app.starter.compact import on_a_grid
from app.starter.dataset import Corpus, Sample

SPECIAL_TOKENS = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
OPEN_ROWS = 12
TOKENIZER_SAMPLES = 40_000
NO_REPEAT_NGRAM = 4  # tokens; so small a model stammers now and then
HIDDEN = -1e4  # added to the score of a token that must not be seen


def train_tokenizer(samples: Iterator[Sample], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE on the corpus' own text; byte-level, so that any text of any person can be encoded and given back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for s in samples for text in (s.system, s.user, s.answer)), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>")
    fast.chat_template = CHAT_TEMPLATE
    fast.padding_side = "left"
    return fast


def encode(tokenizer: PreTrainedTokenizerFast, sample: Sample, prompt_weight: float) -> tuple[list[int], list[float]]:
    """Token ids of one chat and the weight of each token as a target: 1 for the answer and its end, `prompt_weight` before.

    An answer that breaks off has no end to learn.
    """
    context = tokenizer.apply_chat_template(sample.messages(), add_generation_prompt=True, tokenize=False)
    context_ids = tokenizer(context, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(sample.answer + "<|end|>" * sample.ended, add_special_tokens=False)["input_ids"]
    return context_ids + answer_ids, [prompt_weight] * len(context_ids) + [1.0] * len(answer_ids)


def packed_rows(
    chats: Iterator[tuple[list[int], list[float]]], row_tokens: int, pad_id: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Rows of `row_tokens` tokens, each filled with whole chats; `segment` numbers the chat of every token (0 is padding).

    Best fit: a chat goes into the fullest of `OPEN_ROWS` rows that still has room for it, which leaves about 3 % of padding.
    """
    rows: list[dict[str, list]] = []
    for ids, weights in chats:
        ids, weights = ids[:row_tokens], weights[:row_tokens]
        fitting = [row for row in rows if len(row["ids"]) + len(ids) <= row_tokens]
        if not fitting and len(rows) == OPEN_ROWS:
            fullest = max(rows, key=_filled)
            rows.remove(fullest)
            yield _padded(fullest, row_tokens, pad_id)
        if fitting:
            row = max(fitting, key=_filled)
        else:
            rows.append(row := {"ids": [], "weights": [], "positions": [], "segment": []})
        # The first token of a chat has nothing before it to be predicted from.
        row["weights"] += [0.0, *weights[1:]]
        row["segment"] += [1 + (row["segment"][-1] if row["segment"] else 0)] * len(ids)
        row["positions"] += range(len(ids))
        row["ids"] += ids
    for row in rows:
        yield _padded(row, row_tokens, pad_id)


def _filled(row: dict[str, list]) -> int:
    return len(row["ids"])


def _padded(row: dict[str, list], row_tokens: int, pad_id: int) -> dict[str, torch.Tensor]:
    missing, padding = row_tokens - len(row["ids"]), {"ids": pad_id, "weights": 0.0, "positions": 0, "segment": 0}
    return {name: torch.tensor(values + [padding[name]] * missing) for name, values in row.items()}


def loss_of_rows(model: LlamaForCausalLM, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted mean cross-entropy over the rows; shapes (rows, row_tokens). Tokens see only their own chat."""
    segment, length = rows["segment"], rows["ids"].shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    seen = (segment[:, None, :, None] == segment[:, None, None, :]) & causal
    mask = torch.where(seen, 0.0, HIDDEN)
    logits = model(input_ids=rows["ids"], attention_mask=mask, position_ids=rows["positions"], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), rows["ids"][:, 1:].flatten(), reduction="none"
    )
    weights = rows["weights"][:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def build_optimizers(model: LlamaForCausalLM, config: dict) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms; one learning rate serves both."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    decay = config["weight_decay"]
    return [
        torch.optim.Muon(matrices, lr=1e-3, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=1e-3, betas=(0.9, 0.95), weight_decay=decay, fused=True),
    ]


def learning_rate_at(step: int, config: dict) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    if step < config["warmup_steps"]:
        return config["learning_rate"] * (step + 1) / config["warmup_steps"]
    share = (step - config["warmup_steps"]) / max(1, config["steps"] - config["warmup_steps"])
    return config["learning_rate"] * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))


class Checkpoint:
    """Weights, optimiser state and step in one safetensors file (no pickle), written beside and then moved into place."""

    def __init__(self, path: Path):
        self.path = path

    def save(self, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], stage: int, step: int) -> None:
        """Writes the state after `step` steps of stage `stage`, both counted from 0."""
        tensors = {f"model/{name}": p.detach().contiguous() for name, p in model.named_parameters()}
        for name, parameter in model.named_parameters():
            for optimizer in optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"{key}/{name}"] = value.detach().contiguous()
        partial = self.path.with_suffix(".partial")
        save_file(tensors, partial, metadata={"stage": str(stage), "step": str(step)})
        partial.replace(self.path)

    def place(self) -> tuple[int, int]:
        """The stage and the steps of it that are done.

        Raises:
            FileNotFoundError: there is no checkpoint.
        """
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: there is no checkpoint to go on from; leave --resume out to begin")
        with safe_open(self.path, "pt") as file:
            return int(file.metadata()["stage"]), int(file.metadata()["step"])

    def load(self, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]) -> None:
        """Restores weights and optimiser state.

        Raises:
            ValueError: the checkpoint is one of another shape.
        """
        with safe_open(self.path, "pt", device=str(model.device)) as file, torch.no_grad():
            states: dict[str, dict[str, torch.Tensor]] = {}
            for full_name in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                key, name = full_name.split("/", 1)
                states.setdefault(name, {})[key] = file.get_tensor(full_name)
        shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
        if shapes != {name: list(state["model"].shape) for name, state in states.items()}:
            raise ValueError(
                f"{self.path}: a checkpoint of another shape; train without --resume, or with its own config"
            )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(states[name].pop("model"))
                for optimizer in optimizers:
                    if any(parameter is p for group in optimizer.param_groups for p in group["params"]):
                        optimizer.state[parameter] = states[name]


def train(config: dict, build: Path, out: Path, resume: bool) -> None:
    """Trains by `config`, stage after stage, and writes model and tokenizer to `out` in shards under 10 MB.

    Args:
        config: the content of `config.yaml`; each of its `stages` overrides what stands beside them, and where it has a `kept_share`
            that much of the weights it began with is kept in the end.
        build: folder for the checkpoint and the loss log; git-ignored.
        out: folder for the weights.
        resume: go on from the checkpoint in `build`.
    """
    build.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config["seed"])
    corpus = Corpus(config)
    tokenizer = _tokenizer(corpus, config, build / "tokenizer", resume)
    checkpoint = Checkpoint(build / "checkpoint.safetensors")
    begun, done = checkpoint.place() if resume else (0, 0)
    model = None
    for number, stage in list(enumerate(config["stages"]))[begun:]:
        settings = {**config, **stage}
        corpus.shares = settings
        smaller, model = model, build_model(settings, tokenizer)
        optimizers = build_optimizers(model, settings)
        if resume and number == begun:
            checkpoint.load(model, optimizers)
        elif smaller is not None:
            widen(smaller, model)
        beginning = build / f"stage-{number}.safetensors"
        if not (resume and number == begun):
            save_file({name: p.detach().contiguous() for name, p in model.named_parameters()}, beginning)
        log = (build / "loss.jsonl").open("a" if resume or number else "w")
        # A run that is resumed with another configuration says so in its log.
        log.write(
            json.dumps({"stage": number, "from_step": done, "config": config, "topics": len(corpus.topics)}) + "\n"
        )

        def save(step: int, number: int = number, model=model, optimizers=optimizers) -> None:
            checkpoint.save(model, optimizers, number, step)
            save_model(model, tokenizer, build / "weights")

        # Every stage and every resumed run draws from a seed of its own, so as not to see the same samples in order again.
        chats = corpus.samples(config["seed"] + 1 + done + 1_000_000 * number)
        rows = packed_rows(
            (encode(tokenizer, chat, config["prompt_loss_weight"]) for chat in chats),
            config["row_tokens"],
            tokenizer.pad_token_id,
        )
        with log:
            run_stage(settings, model, optimizers, rows, done, log, save)
        if kept := stage.get("kept_share"):
            average(model, load_file(beginning, device=str(model.device)), kept)
        done = 0
    save_model(model, tokenizer, out)


def build_model(settings: dict, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A model of the shape in `settings` with random weights, on the GPU where there is one."""
    shape = {key: settings[key] for key in LlamaConfig().to_dict() if key in settings}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    # Compiled by torch, attention in single operations is the fastest on short rows (fused kernels pay for masks on CPU).
    llama = LlamaConfig(**shape, **ids, tie_word_embeddings=True, attn_implementation="eager")
    return LlamaForCausalLM(llama).to("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def widen(smaller: LlamaForCausalLM, larger: LlamaForCausalLM) -> None:
    """Copies the weights of `smaller` into `larger`, whose feed-forward layers have more units, so that both compute the same.

    The new units read with their random weights and write with zeros (as Net2Net grows a network, arXiv 1511.05641).
    """
    source = smaller.state_dict()
    for name, target in larger.state_dict().items():
        if name.endswith("down_proj.weight"):
            target.zero_()
        target[tuple(slice(0, size) for size in source[name].shape)] = source[name]


@torch.no_grad()
def average(model: LlamaForCausalLM, earlier: dict[str, torch.Tensor], share: float) -> None:
    """Moves the weights of `model` back by `share` of the way to `earlier`, which keeps more of what it knew (WiSE-FT, arXiv 2109.01903)."""
    for name, parameter in model.named_parameters():
        parameter.lerp_(earlier[name], share)


def run_stage(
    settings: dict,
    model: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    rows: Iterator[dict[str, torch.Tensor]],
    done: int,
    log: TextIO,
    save: Callable[[int], None],
) -> None:
    """Trains `model` from step `done` to `settings["steps"]`; a line of the log every 100 steps, `save(step)` every 1,000."""
    compiled = torch.compile(loss_of_rows)
    started, mean = time.time(), None
    for step in tqdm(range(done, settings["steps"]), initial=done, total=settings["steps"], mininterval=5):
        batch = list(islice(rows, settings["rows_per_step"]))
        batch = {name: torch.stack([row[name] for row in batch]).to(model.device) for name in batch[0]}
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate_at(step, settings)
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            loss = compiled(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            seconds = round(time.time() - started, 1)
            log.write(json.dumps({"step": step + 1, "loss": round(mean, 4), "seconds": seconds}) + "\n")
            log.flush()
        if (step + 1) % 1000 == 0 or step + 1 == settings["steps"]:
            save(step + 1)


def _tokenizer(corpus: Corpus, config: dict, folder: Path, resume: bool) -> PreTrainedTokenizerFast:
    """A new tokenizer, kept in `folder`; a resumed run takes the one that its checkpoint was trained with."""
    if resume and folder.is_dir():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer = train_tokenizer(islice(corpus.samples(config["seed"]), TOKENIZER_SAMPLES), config["vocab_size"])
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes fp16 safetensors in shards under 10 MB, rounded by `on_a_grid`, with tokenizer and chat template, as stock transformers load them."""
    half = LlamaForCausalLM(model.config).half()
    half.load_state_dict({name: on_a_grid(value.float()).half() for name, value in model.state_dict().items()})
    half.generation_config.no_repeat_ngram_size = NO_REPEAT_NGRAM
    half.save_pretrained(folder, max_shard_size="9MB")
    tokenizer.save_pretrained(folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m app.starter.train", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=STARTER_FOLDER / "config.yaml")
    parser.add_argument("--build", type=Path, default=Path("build/starter"), help="checkpoint and loss log")
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER, help="where the weights go")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --build")
    arguments = parser.parse_args()
    train(yaml.safe_load(arguments.config.read_text()), arguments.build, arguments.out, arguments.resume)


if __name__ == "__main__":
    main()
