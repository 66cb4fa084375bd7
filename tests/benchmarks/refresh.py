"""`python -m tests.benchmarks.refresh`: pairs a second and peak memory of a refresh against TRL's `DPOTrainer`.

Both sides get the same weights, token ids, batches, LoRA, optimiser, schedule and precision, and DPO alone (`sft_weight` 0). Each run
is a process of its own, so that its peak memory is its own, and the sides take turns. The larger model has SmolLM2-135M's shape and
random weights: the shape decides speed and memory. TRL gets the model as transformers loads it, and runs without gradient
checkpointing, the faster of its ways.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from app.model import LanguageModel
from app.pretrained import load_pretrained
from app.prompts import with_system
from app.refresh.learner import schedule
from app.refresh.pairs import Pair, make_pair
from app.refresh.trainer import EncodedPair, RefreshSettings, batches, encode, train
from app.starter import CORPUS_FOLDER, WEIGHTS_FOLDER
from app.starter.compose import load_topics
from tests.benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results" / "refresh.json"
SAME_PRECISION_BAR, BEST_BAR, MEMORY_BAR, LOSS_BAR = 2.0, 3.0, 0.8, 1e-3
PRECISIONS = ("fp32", "bf16")
# Model -> (pairs, learning rate); two epochs of four pairs a step.
SIZES = {"starter": (64, 1.5e-3), "smollm2-135m-shape": (12, 1.5e-4)}

Timed = tuple[list[float], list[float]]


def some_pairs(count: int) -> list[Pair]:
    """Short answers preferred to plain ones, spread over all topics of the starter's corpus."""
    topics = load_topics(CORPUS_FOLDER / "topics")
    return [
        make_pair([{"role": "user", "content": topic["prompts"][0]}], topic["short"], topic["plain"])
        for topic in topics[:: len(topics) // count][:count]
    ]


def ours(
    model: LanguageModel, pairs: list[Pair], encoded: list[EncodedPair], settings: RefreshSettings
) -> Callable[[], Timed]:
    """Training that gives the loss of every step and the time at its end."""

    def run() -> Timed:
        losses, ends = [], []
        for step in train(model, encoded, settings, "taste"):
            losses.append(step.loss)
            ends.append(time.perf_counter())
        return losses, ends

    return run


def trls(
    model: LanguageModel, pairs: list[Pair], encoded: list[EncodedPair], settings: RefreshSettings
) -> Callable[[], Timed]:
    """The same by TRL, which is handed our order of the pairs as one long epoch, and the model without what this project does to it."""
    import datasets
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    losses, ends = [], []

    class Timing(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    class Recording(DPOTrainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            losses.append(loss.item())
            return loss

    steps = batches(len(pairs), settings)
    order = [i for step in steps for i in step]
    answer = lambda text: [{"role": "assistant", "content": text}]  # noqa: E731
    rows = [
        {
            "prompt": with_system(pairs[i].messages),
            "chosen": answer(pairs[i].chosen),
            "rejected": answer(pairs[i].rejected),
        }
        for i in order
    ]
    arguments = DPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=settings.precision == "bf16", gradient_checkpointing=False,
        per_device_train_batch_size=settings.pairs_per_step, num_train_epochs=1, train_sampling_strategy="sequential",
        beta=settings.beta, loss_type="sigmoid", max_length=None, seed=settings.seed, report_to=[], disable_tqdm=True,
        save_strategy="no", logging_strategy="no",
    )  # fmt: skip
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    trainer = Recording(
        model=load_pretrained(model.name, "cpu", "auto")[0], args=arguments, processing_class=model.tokenizer, train_dataset=datasets.Dataset.from_list(rows),
        peft_config=lora, callbacks=[Timing()],
    )  # fmt: skip
    for i, row in zip(order, trainer.train_dataset, strict=True):
        if EncodedPair(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) != encoded[i]:
            raise RuntimeError(f"TRL reads pair {i} as other token ids than we do; the two cannot be compared")
    weights = [p for p in trainer.model.parameters() if p.requires_grad]
    trainer.optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=0.0)
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, partial(schedule, steps=len(steps)))

    def run() -> Timed:
        trainer.train()
        return losses, ends

    return run


def one_run(side: str, folder: str, precision: str, count: int, rate: float) -> dict[str, Any]:
    """Trains once in this process. The first step, which also warms everything up, is not counted in the time."""
    model = LanguageModel.load(folder, "cpu")
    settings = RefreshSettings(sft_weight=0.0, epochs=2, precision=precision, learning_rate=rate)
    pairs = some_pairs(count)
    encoded = encode(model, pairs)
    run = {"ours": ours, "trl": trls}[side](model, pairs, encoded, settings)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = _memory("VmRSS")
    losses, ends = run()
    seen = sum(len(step) for step in batches(len(pairs), settings)[1:])
    return {"losses": losses, "pairs_per_second": seen / (ends[-1] - ends[0]), "peak_bytes": _memory("VmHWM") - before}


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def in_a_process(side: str, folder: str, precision: str, count: int, rate: float) -> dict[str, Any]:
    """`one_run` in a process of its own."""
    arguments = ["--one", side, folder, precision, str(count), str(rate)]
    result = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.refresh", *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"the run of {side} on {folder} failed: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def shaped_like_smollm2(folder: Path) -> None:
    """Writes a random model with the layers, widths and vocabulary of SmolLM2-135M, and the starter's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS_FOLDER)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=2048, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(folder: str, count: int, rate: float, repeats: int) -> dict[str, Any]:
    """Both sides in both precisions, `repeats` times, the sides by turns first."""
    runs: dict[str, list[dict[str, Any]]] = {f"{side} {p}": [] for side in ("ours", "trl") for p in PRECISIONS}
    for turn in range(repeats):
        for precision in PRECISIONS:
            for side in ("ours", "trl") if turn % 2 == 0 else ("trl", "ours"):
                runs[f"{side} {precision}"].append(in_a_process(side, folder, precision, count, rate))
    rate_of = {name: median(run["pairs_per_second"] for run in found) for name, found in runs.items()}
    peak_of = {name: median(run["peak_bytes"] for run in found) for name, found in runs.items()}
    best = {side: max(rate_of[f"{side} {p}"] for p in PRECISIONS) for side in ("ours", "trl")}
    ratios = {
        p: [
            o["pairs_per_second"] / t["pairs_per_second"]
            for o, t in zip(runs[f"ours {p}"], runs[f"trl {p}"], strict=True)
        ]
        for p in PRECISIONS
    }
    exact = [runs[f"{side} fp32"][0]["losses"] for side in ("ours", "trl")]
    off = max(abs(a - b) for a, b in zip(*exact, strict=True))
    report = {
        "pairs": count,
        "steps": len(exact[0]),
        "pairs_per_second": rate_of,
        "peak_megabytes": {name: round(peak / 1e6, 1) for name, peak in peak_of.items()},
        "ratios": ratios,
        "ratio": {p: median(ratios[p]) for p in PRECISIONS},
        "best_against_trl_fp32": best["ours"] / rate_of["trl fp32"],
        "best_against_trl_best": best["ours"] / best["trl"],
        "memory_ratio": {p: peak_of[f"ours {p}"] / peak_of[f"trl {p}"] for p in PRECISIONS},
        "largest_loss_difference_fp32": off,
        "losses": {name: found[0]["losses"] for name, found in runs.items()},
    }
    report["passed"] = {
        "same_precision": min(report["ratio"].values()) >= SAME_PRECISION_BAR,
        "best": report["best_against_trl_fp32"] >= BEST_BAR,
        "memory": max(report["memory_ratio"].values()) <= MEMORY_BAR,
        "losses": off <= LOSS_BAR,
    }
    return report


def main() -> None:
    """Prints a block a model and keeps everything as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.refresh", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument(
        "--one", nargs=5, metavar=("SIDE", "MODEL", "PRECISION", "PAIRS", "RATE"), help="one run, in this process"
    )
    options = parser.parse_args()
    if options.one:
        side, folder, precision, count, rate = options.one
        print(json.dumps(one_run(side, folder, precision, int(count), float(rate))))
        return
    report: dict[str, Any] = {"machine": machine(), "bars": [SAME_PRECISION_BAR, BEST_BAR, MEMORY_BAR, LOSS_BAR]}
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.models:
            folder = name
            if name != "starter":
                folder = str(Path(scratch) / name)
                shaped_like_smollm2(Path(folder))
            row = report[name] = measure(folder, *SIZES[name], options.repeats)
            print(f"{name}: {row['pairs']} pairs, {row['steps']} steps, {options.repeats} repeats")
            for key in ("pairs_per_second", "ratio", "peak_megabytes", "memory_ratio"):
                print(f"  {key}: " + ", ".join(f"{of} {value:.2f}" for of, value in row[key].items()))
            for key in ("best_against_trl_fp32", "best_against_trl_best", "largest_loss_difference_fp32", "passed"):
                print(f"  {key}: {row[key]}")
    options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
