"""`python -m tests.benchmarks.mixtures`: short trainings of the starter from scratch, each with one thing changed: loss on prompts, gold, vocabulary, size.

Every run is judged on the same answers, in nats a *character*, since a token is not the same thing in two vocabularies. It uses the
trainer's own functions; it does not know what a long training would come to, and writes no weights. A run that the JSON holds is
not repeated: delete the file after a change of the corpus.
"""

import argparse
import copy
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from io import StringIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from app.model import LanguageModel
from app.starter.answering import answer
from app.starter.dataset import Corpus, Sample
from app.starter.evaluate import CONFIG, fraction, known_cases
from app.starter.held_out import is_held_out
from app.starter.measures import PersonaClassifier, Relevance
from app.starter.train import (
    TOKENIZER_SAMPLES,
    build_model,
    build_optimizers,
    encode,
    loss_of_rows,
    packed_rows,
    run_stage,
    save_model,
    train_tokenizer,
)
from storage.files import whole_file
from tests.benchmarks.machine import machine

# What each run changes of `config.yaml` with its first stage; the most telling ones first. A size keeps the proportion of its layers.
VARIATIONS: dict[str, dict[str, Any]] = {
    "base": {},
    "prompts 0": {"prompt_loss_weight": 0.0},
    "prompts 1": {"prompt_loss_weight": 1.0},
    "vocabulary 8192": {"vocab_size": 8192},
    "vocabulary 2048": {"vocab_size": 2048},
    "base again": {"seed": 8},  # other weights and other samples: how far apart two runs of one recipe lie
    "gold 0": {"gold_share": 0.0},
    "gold 0.3": {"gold_share": 0.3},
    "wide layers": {"intermediate_size": 1856},
    "d 192": {"hidden_size": 192, "intermediate_size": 528},
    "d 320": {"hidden_size": 320, "intermediate_size": 880},
}
JUDGED, JUDGED_SEED = 120, 61  # samples of each kind
PER_PERSONA = 2  # prompts answered in the voice of each persona


def settings_of(config: dict[str, Any], name: str, steps: int) -> dict[str, Any]:
    """The settings of one run: those of the first stage, `steps` long, with what the variation `name` changes.

    A quarter of the steps warms up, so that the shortest run, too, has its cosine.
    """
    return {**config, **config["stages"][0], "steps": steps, "warmup_steps": steps // 4, **VARIATIONS[name]}


def drawn(corpus: Corpus, held_out: bool, topics: str = "known", **shares: float) -> list[Sample]:
    """`JUDGED` samples of another mixture of the corpus, the same ones every time.

    Args:
        corpus: stays as it is.
        held_out: prompts and persona wordings that training never draws, instead of ones that it does.
        topics: "known" to training, or "new".
        shares: the mixture; what is not named is 0, so that the default is composed answers in a persona.
    """
    view = copy.copy(corpus)
    view.shares = {name: shares.get(name, 0.0) for name in corpus.shares if name.endswith("_share")}
    if topics == "new":
        view.known_gold = [entry for entry in corpus.gold if is_held_out("topic", entry["prompt"])]
    samples = view.samples(JUDGED_SEED, held_out)
    # A topic without a held-out wording gives a trained one.
    fitting = (s for s in samples if topics == "new" or is_held_out("prompt", s.user) == held_out)
    return list(islice(fitting, JUDGED))


def judged_samples(corpus: Corpus) -> dict[str, list[Sample]]:
    """What every run is judged on, by kind: composed and gold answers, in trained and in held-out wordings."""
    mixtures: dict[str, dict[str, float]] = {
        "composed, plain": {"plain_share": 1.0},
        "composed, persona": {},
        "gold": {"gold_share": 1.0, "plain_share": corpus.shares["plain_share"]},
    }
    sides = {"trained wordings": False, "held-out wordings": True}
    kinds = {f"{kind}, {side}": drawn(corpus, out, **m) for side, out in sides.items() for kind, m in mixtures.items()}
    return {**kinds, "gold, new topics": drawn(corpus, True, "new", **mixtures["gold"])}


@torch.inference_mode()
def nats_per_character(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, samples: list[Sample]) -> float:
    """The loss on the answers and their ends, summed in nats, for each character of the answers; prompts do not count."""
    chats = [encode(tokenizer, sample, prompt_weight=0.0) for sample in samples]
    nats = 0.0
    # Rows as long as the longest chat: nothing is cut off, however finely a vocabulary splits.
    for row in packed_rows(iter(chats), max(len(ids) for ids, _ in chats), tokenizer.pad_token_id):
        rows = {name: values[None].to(model.device) for name, values in row.items()}
        nats += float(loss_of_rows(model, rows) * rows["weights"][:, 1:].sum())
    return nats / sum(len(sample.answer) for sample in samples)


def trained(
    settings: dict[str, Any], corpus: Corpus, tokenizer: PreTrainedTokenizerFast
) -> tuple[LlamaForCausalLM, dict[str, float]]:
    """A model trained by `settings` as the trainer's first stage does it, and the median cost of a step (the first compiles).

    Returns:
        The model; seconds a step by the clock, and of the processor, which neighbours on the machine disturb less.
    """
    torch.compiler.reset()  # what was compiled for another run's shape would make this one general, and slow
    torch.manual_seed(settings["seed"])
    view, model, times = copy.copy(corpus), build_model(settings, tokenizer), []
    view.shares = settings
    chats = (encode(tokenizer, s, settings["prompt_loss_weight"]) for s in view.samples(settings["seed"] + 1))

    def clocked() -> Iterator[dict[str, torch.Tensor]]:
        for row in packed_rows(chats, settings["row_tokens"], tokenizer.pad_token_id):
            times.append((time.perf_counter(), time.process_time()))
            yield row

    run_stage(settings, model, build_optimizers(model, settings), clocked(), 0, StringIO(), lambda step: None)
    begun = times[:: settings["rows_per_step"]]
    clock, processor = (statistics.median(b[i] - a[i] for a, b in pairwise(begun)) for i in (0, 1))
    return model, {"seconds_a_step": round(clock, 3), "processor_seconds_a_step": round(processor, 3)}


class Bench:
    """Corpus, judged samples and judges, made once; `run` trains and judges one variation."""

    def __init__(self, config: dict[str, Any], steps: int):
        self.config, self.steps, self.corpus = config, steps, Corpus(config)
        self.judged = judged_samples(self.corpus)
        self.classifier = PersonaClassifier(self.corpus)
        self.relevance = Relevance({t["prompts"][0]: t["plain"] for t in self.corpus.topics})
        # Of the base's mixture for every run, so that the share of gold changes nothing but what is learnt.
        self.tokenizer = cache(
            lambda size: train_tokenizer(islice(self.corpus.samples(config["seed"]), TOKENIZER_SAMPLES), size)
        )

    def run(self, name: str) -> dict[str, Any]:
        """What one variation came to."""
        settings = settings_of(self.config, name, self.steps)
        tokenizer = self.tokenizer(settings["vocab_size"])
        model, cost = trained(settings, self.corpus, tokenizer)
        texts = [sample.answer for samples in self.judged.values() for sample in samples]
        tokens = sum(len(ids) for ids in tokenizer(texts)["input_ids"])
        return {
            "changed": VARIATIONS[name],
            "parameters": sum(p.numel() for p in model.parameters()),
            **cost,
            "characters_a_token": round(sum(map(len, texts)) / tokens, 3),
            "nats_per_character": {
                kind: round(nats_per_character(model, tokenizer, samples), 4) for kind, samples in self.judged.items()
            },
            "greedy, held-out wordings": self.answered(model, tokenizer),
        }

    def answered(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
        """Shares of greedy answers that are in the persona asked for, or on their topic, as `app.starter.evaluate` counts them."""
        cases, arms = known_cases(self.corpus, random.Random(31), PER_PERSONA), ["baseline", "prompted"]
        with tempfile.TemporaryDirectory() as folder:
            save_model(model, tokenizer, Path(folder))
            answer(LanguageModel.load(folder), cases, arms, 0.0, "answers")
        named = self.classifier.name([case.text("prompted") for case in cases])
        on_topic = {arm: [self.relevance.is_first(c.text(arm), c.sample.topic) for c in cases] for arm in arms}
        return {
            "persona, prompted": fraction([n == c.sample.persona for n, c in zip(named, cases, strict=True)]),
            **{f"relevance, {arm}": fraction(flags) for arm, flags in on_topic.items()},
        }


def complete(file: Path, about: dict[str, Any], names: list[str], run: Callable[[str], dict[str, Any]]) -> dict:
    """Runs those of `names` that `file` does not hold yet, and writes each as soon as it is there.

    Raises:
        ValueError: the file holds runs of other settings (`about`), which these cannot stand beside.
    """
    kept = json.loads(file.read_text()) if file.exists() else {**about, "machine": machine(), "runs": {}}
    if other := [key for key in about if kept.get(key) != about[key]]:
        raise ValueError(f"{file}: holds runs of other {' and '.join(other)}; name another file with --json")
    for name in names:
        if name not in kept["runs"]:
            kept["runs"][name] = run(name)
            with whole_file(file) as out:
                out.write((json.dumps(kept, indent=1) + "\n").encode())
    return kept


def table(runs: dict[str, dict[str, Any]]) -> list[str]:
    """The runs as lines of a Markdown table."""
    kinds = list(next(iter(runs.values()))["nats_per_character"])
    shares = list(next(iter(runs.values()))["greedy, held-out wordings"])
    heads = ["run", "parameters", "s a step", "processor s", "characters a token", *kinds, *shares]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, run in runs.items():
        cells = [f"{run['parameters'] / 1e6:.1f}M", f"{run['seconds_a_step']:.2f}"]
        cells += [f"{run['processor_seconds_a_step']:.2f}", f"{run['characters_a_token']:.2f}"]
        cells += [f"{run['nats_per_character'][kind]:.3f}" for kind in kinds]
        cells += [f"{one['share']:.2f} [{one['low']:.2f}, {one['high']:.2f}]" for one in map(run["greedy, held-out wordings"].get, shares)]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Trains what is missing, keeps it as JSON and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mixtures", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--json", type=Path, required=True, help="finished runs are kept here and not repeated")
    parser.add_argument("--only", default=",".join(VARIATIONS), help="comma-separated; all by default")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in VARIATIONS]:
        parser.error(f"unknown runs: {', '.join(unknown)}; there are: {', '.join(VARIATIONS)}")
    config = yaml.safe_load(CONFIG.read_text())
    bench = cache(lambda: Bench(config, options.steps))
    try:
        kept = complete(options.json, {"steps": options.steps, "config": config}, names, lambda name: bench().run(name))
    except ValueError as problem:
        parser.error(str(problem))
    print("\n".join(table(kept["runs"])))


if __name__ == "__main__":
    main()
