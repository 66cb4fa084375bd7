"""`python -m app.starter.evaluate`: measures the starter on held-out wordings, new topics and new personas, and writes the scores.

It decodes with the product's own engine and judges with `measures`; every share comes with its number of cases and a 95 % interval.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm

from app.decoding.arms import Arm, DecodeSettings, build_arms
from app.decoding.engine import decode
from app.insights import share
from app.model import LanguageModel
from app.prompts import SYSTEM_TEXT
from app.starter import STARTER_FOLDER
from app.starter.dataset import Corpus, Sample, draw_prompt, is_held_out
from app.starter.measures import (
    Fluency,
    PersonaClassifier,
    Relevance,
    first_sentence_removed,
    lower_end,
    names_the_thing,
)

FOLDER = STARTER_FOLDER / "evaluation"
SCORES = STARTER_FOLDER / "scores.json"
CONFIG = STARTER_FOLDER / "config.yaml"
ROWS_AT_ONCE = 96
BUDGET = 0.5  # nats a token
# What is decoded: name -> (arm of the product, ratio, KL budget).
ARMS: dict[str, tuple[str, float, float | None]] = {
    "baseline": ("baseline", 0.0, None),
    "prompted": ("principle_prompted", 0.0, None),
    "aligned 1": ("linear_aligned", 1.0, None),
    "aligned 2": ("linear_aligned", 2.0, None),
    "aligned 3": ("linear_aligned", 3.0, None),
    "budget 2": ("linear_aligned", 2.0, BUDGET),
    "budget 5": ("linear_aligned", 5.0, BUDGET),
    "budget 10": ("linear_aligned", 10.0, BUDGET),
}


@dataclass
class Case:
    """One prompt under one persona description, and what each arm answered: arm -> (text, whether it ended by itself)."""

    sample: Sample
    answers: dict[str, tuple[str, bool]] = field(default_factory=dict)


def answer(model: LanguageModel, cases: list[Case], arms: list[str], temperature: float, label: str) -> None:
    """Decodes `arms` (keys of `ARMS`) for every case, many cases as rows of one batch, and keeps the texts in the cases."""
    per_case = sum(1 if name in ("baseline", "prompted") else 2 for name in arms)
    size = max(1, ROWS_AT_ONCE // per_case)
    ordered = sorted(cases, key=lambda case: len(case.sample.user) + len(case.sample.system))
    for start in tqdm(range(0, len(ordered), size), desc=label, mininterval=5):
        contexts, running, tokens = [], [], {}
        for number, case in enumerate(ordered[start : start + size]):
            messages = case.sample.messages()
            first = len(contexts)
            contexts += [
                model.chat_ids([{"role": "system", "content": SYSTEM_TEXT}, *messages[1:]]),
                model.chat_ids(messages),
            ]
            for name in arms:
                kind, ratio, budget = ARMS[name]
                settings = DecodeSettings(ratio=ratio, kl_budget=budget, temperature=temperature)
                (arm,) = build_arms([kind], torch.ones(1), settings)
                running.append(Arm(f"{number}/{name}", tuple(first + i for i in arm.contexts), arm.next_log_probs))
                tokens[f"{number}/{name}"] = []
        settings = DecodeSettings(temperature=temperature, max_new_tokens=140, seed=start)
        ended = {}
        for events in decode(model.forward, contexts, running, settings, model.end_ids, model.device):
            for event in events:
                if event.token is not None:
                    tokens[event.arm].append(event.token)
                if event.finish_reason:
                    ended[event.arm] = event.finish_reason == "end"
        for key, ids in tokens.items():
            number, name = key.split("/", 1)
            ordered[start + int(number)].answers[name] = (model.decode(ids), ended[key])


def cases_of_known_topics(corpus: Corpus, rng: random.Random, per_persona: int) -> list[Case]:
    """Trained topics in held-out prompt wordings, each under a held-out wording of a persona."""
    topics = [t for t in corpus.known_topics if any(is_held_out("prompt", p) for p in t["prompts"])]
    return [
        Case(corpus.composed(rng, topic, True, persona))
        for persona in corpus.personas
        if persona != "plain"
        for topic in rng.sample(topics, per_persona)
    ]


def fraction(flags: list[bool]) -> dict[str, Any]:
    """A share with its Wilson interval, as JSON."""
    found = share(sum(flags), len(flags))
    low, high = found.interval
    return {"share": round(found.value, 3), "low": round(low, 3), "high": round(high, 3), "n": len(flags)}


def persona_scores(cases: list[Case], arms: list[str], classifier: PersonaClassifier) -> dict[str, Any]:
    """Fidelity of each arm, and aligned against prompted with a paired bootstrap, whole and without the first sentence."""
    personas = [case.sample.persona for case in cases]
    named = {arm: classifier.name([case.answers[arm][0] for case in cases]) for arm in arms}
    right = {arm: [a == b for a, b in zip(named[arm], personas, strict=True)] for arm in arms}
    scores: dict[str, Any] = {arm: fraction(right[arm]) for arm in arms if arm != "baseline"}
    scores["baseline is plain"] = fraction([name == "plain" for name in named["baseline"]])
    scores["by persona (prompted, aligned 2)"] = {
        persona: [
            round(
                sum(r for r, p in zip(right[arm], personas, strict=True) if p == persona) / personas.count(persona), 2
            )
            for arm in ("prompted", "aligned 2")
        ]
        for persona in sorted(set(personas))
    }
    scores["aligned 2 minus prompted"] = _difference(right["aligned 2"], right["prompted"])
    sure = {
        arm: classifier.probability([case.answers[arm][0] for case in cases], personas)
        for arm in ("prompted", "aligned 2")
    }
    scores["the same, classifier's probability"] = _difference(sure["aligned 2"], sure["prompted"])
    # A curt answer is one sentence: without it nothing is left to judge.
    longer = [case for case in cases if case.sample.persona != "curt"]
    rest = {
        arm: classifier.name([first_sentence_removed(case.answers[arm][0]) for case in longer])
        for arm in ("prompted", "aligned 2")
    }
    hits = {arm: [n == c.sample.persona for n, c in zip(names, longer, strict=True)] for arm, names in rest.items()}
    scores["the same, first sentence removed"] = _difference(hits["aligned 2"], hits["prompted"])
    return scores


def _difference(after: list, before: list) -> dict[str, Any]:
    mean, low, high = lower_end([float(a) - float(b) for a, b in zip(after, before, strict=True)])
    return {"mean": round(mean, 3), "low": round(low, 3), "high": round(high, 3), "n": len(after)}


def evaluate(model: LanguageModel, corpus: Corpus, per_persona: int, temperatures: dict[str, float]) -> dict[str, Any]:
    """All measures, as nested dictionaries of shares.

    Args:
        model: the starter, or any other model for comparison.
        corpus: gives held-out topics and wordings and teaches the judges.
        per_persona: prompts for each persona.
        temperatures: by name of the decoding, 0 for greedy.
    """
    scores: dict[str, Any] = {}
    classifier, fluent = PersonaClassifier(corpus), Fluency(corpus)
    relevance = Relevance({t["prompts"][0]: t["plain"] for t in corpus.topics})
    scores["classifier on gold answers kept aside"] = fraction(classifier.check())
    scores["perplexity band"] = [round(float(end), 1) for end in fluent.band]
    for name, temperature in temperatures.items():
        cases, arms = cases_of_known_topics(corpus, random.Random(31), per_persona), list(ARMS)
        answer(model, cases, arms, temperature, f"known topics, {name}")
        scores[f"persona fidelity, {name}"] = persona_scores(cases, arms, classifier)
        scores[f"relevance, known topics in held-out wordings, {name}"] = {
            arm: fraction([relevance.is_first(c.answers[arm][0], c.sample.topic) for c in cases])
            for arm in ("baseline", "prompted", "aligned 2")
        }
        scores[f"fluency, {name}"] = {arm: fraction([fluent(*c.answers[arm]) for c in cases]) for arm in arms}
        scores[f"new things, {name}"] = new_things(model, corpus, relevance, temperature)
        scores[f"unseen persona, {name}"] = unseen_personas(model, corpus, classifier, temperature)
    return scores


def new_things(model: LanguageModel, corpus: Corpus, relevance: Relevance, temperature: float) -> dict[str, Any]:
    """Held-out topics, prompts written apart from the corpus, and things that nobody told the model about."""
    rng = random.Random(41)
    topics = [t for t in corpus.topics if is_held_out("topic", t["prompts"][0])]
    unseen = [Case(Sample((), t["prompts"][0], "", "plain", t["prompts"][0])) for t in topics]
    lines = (FOLDER / "fresh_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    fresh = [Case(Sample((), entry["prompt"], "")) for entry in entries]
    things = [e for e in corpus.beyond if is_held_out("topic", e["thing"])]
    named = [Case(Sample((), draw_prompt(rng, e["prompts"], True), "", topic=e["thing"])) for e in things]
    invented = [thing for thing in corpus.unknown["things"] if is_held_out("topic", thing)]
    named += [
        Case(Sample((), prompt.format(thing=thing), "", topic=thing))
        for thing in invented
        for prompt in rng.sample(corpus.unknown["prompts"], 3)
    ]
    answer(model, [*unseen, *fresh, *named], ["baseline"], temperature, "new things")
    texts = {id(case): case.answers["baseline"][0] for case in [*unseen, *fresh, *named]}
    verdicts = [fresh_verdict(texts[id(case)], entry) for case, entry in zip(fresh, entries, strict=True)]
    return {
        "relevance, held-out topics": fraction([relevance.is_first(texts[id(c)], c.sample.topic) for c in unseen]),
        "fresh prompts, on topic or honestly unsure": fraction([verdict != "off" for verdict in verdicts]),
        "fresh prompts, on topic": fraction([verdict == "on topic" for verdict in verdicts]),
        "copying the unknown name": fraction([names_the_thing(texts[id(c)], c.sample.topic) for c in named]),
    }


def fresh_verdict(text: str, entry: dict[str, Any]) -> str:
    """ "on topic" (names the subject and holds a word of a right answer), "unsure" (names it and says so), or "off"."""
    said = text.lower()
    if not any(subject in said for subject in entry["subject"]):
        return "off"
    if "small" in said or "not know" in said or "no idea" in said or "cannot" in said:
        return "unsure"
    return "on topic" if any(word in said for word in entry["words"]) else "off"


def unseen_personas(
    model: LanguageModel, corpus: Corpus, classifier: PersonaClassifier, temperature: float
) -> dict[str, Any]:
    """Descriptions in free words, written apart from the corpus, each on three known prompts."""
    rng = random.Random(51)
    described = yaml.safe_load((FOLDER / "unseen_personas.yaml").read_text(encoding="utf-8"))
    cases = [
        Case(Sample((text,), rng.choice(topic["prompts"]), "", persona))
        for persona, texts in described.items()
        for text in texts
        for topic in rng.sample(corpus.known_topics, 3)
    ]
    arms = ["prompted", "aligned 2"]
    answer(model, cases, arms, temperature, "unseen personas")
    personas = [case.sample.persona for case in cases]
    return {
        arm: fraction(
            [a == b for a, b in zip(classifier.name([c.answers[arm][0] for c in cases]), personas, strict=True)]
        )
        for arm in arms
    }


def table(scores: dict[str, Any], before: str = "") -> list[str]:
    """The shares as lines of a table."""
    lines = []
    for name, value in scores.items():
        if isinstance(value, dict) and ("share" in value or "mean" in value):
            point = value.get("share", value.get("mean"))
            lines.append(
                f"{before + name:<78} {point:>6.3f}  [{value['low']:.3f}, {value['high']:.3f}]  n {value['n']}"
            )
        elif isinstance(value, dict) and "by persona" not in name:
            lines += table(value, f"{before}{name}: ")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m app.starter.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="starter, a folder or a hub id")
    parser.add_argument("--per-persona", type=int, default=12, help="prompts for each persona")
    parser.add_argument("--out", type=Path, default=SCORES, help="where the scores go (JSON)")
    parser.add_argument("--greedy-only", action="store_true", help="without the sampled half")
    arguments = parser.parse_args()
    started = time.monotonic()
    corpus = Corpus(yaml.safe_load(CONFIG.read_text()))
    model = LanguageModel.load(arguments.model)
    temperatures = (
        {"greedy": 0.0} if arguments.greedy_only else {"greedy": 0.0, "sampled": DecodeSettings().temperature}
    )
    scores = evaluate(model, corpus, arguments.per_persona, temperatures)
    scores["model"], scores["minutes"] = model.revision, round((time.monotonic() - started) / 60, 1)
    print("\n".join(table(scores)))
    arguments.out.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
