"""`python -m tests.benchmarks.learning`: twenty consistent choices for a style, one refresh, and what became of the model.

A simulated person goes through the product's own use cases: compare, vote, learn. What they prefer is a fixed rule: the shorter
answer (curt), the one in the style's form (lister, rhymer), or the one with more of a persona's markers (any other style). Nothing of
the rule reaches the model but the votes.
"""

import argparse
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import yaml
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from app.compare import Request
from app.decoding.arms import DecodeSettings, build_arms
from app.decoding.engine import decode
from app.evaluation.scoring import follows
from app.insights import share
from app.prompts import chat
from app.refresh.pairs import Pair, make_pair
from app.refresh.trainer import RefreshSettings, count_above_zero, encode, margins
from app.services import Services, build
from app.settings import Settings
from app.starter import CORPUS_FOLDER
from app.starter.compose import load_topics
from app.starter.held_out import is_held_out
from app.starter.measures import Admission
from app.starter.voices import load_voices
from storage.records import Answer
from tests.benchmarks.machine import machine

CHOICES, FURTHER, UNSEEN, CANDIDATES = 20, 40, 50, 50


@cache
def admission() -> Admission:
    """Tells whether an answer says that it does not know; read from the corpus once."""
    return Admission(yaml.safe_load((CORPUS_FOLDER / "unknown.yaml").read_text(encoding="utf-8")))


def words(text: str) -> int:
    """Number of words."""
    return len(text.split())


def known_topics(seed: int) -> list[dict]:
    """All topics that the starter was trained on, in an order by lot."""
    topics = [t for t in load_topics(CORPUS_FOLDER / "topics") if not is_held_out("topic", t["prompts"][0])]
    random.Random(seed).shuffle(topics)
    return topics


def preference(style: str) -> Callable[[str], float]:
    """How much the simulated person likes a text: fewer words for curt, its form for a list or a poem, markers for any other style."""
    if style == "curt":
        return lambda text: -words(text)
    voice = load_voices(CORPUS_FOLDER / "voices")[style]
    if not voice.markers:
        return lambda text: float(follows(text, voice))
    patterns = [re.compile(p) for p in voice.markers]
    return lambda text: sum(1 for pattern in patterns if pattern.search(text))


def choose(
    services: Services, style: str, topics: list[dict], prefer: Callable[[str], float]
) -> Iterator[tuple[str, Answer, Answer, str]]:
    """Compares on one prompt after another and votes wherever the person can tell; yields (round, preferred, other, side)."""
    admits = admission()
    for seed, topic in enumerate(topics):
        settings = DecodeSettings(seed=seed, max_new_tokens=120)
        request = Request(
            messages=(("user", topic["prompts"][0]),), persona=style, settings=settings, adapter="none", blind=True
        )
        comparison = services.compare.start(request, "simulated")
        *_, last = services.compare.run(comparison)
        first, second = last.answers[comparison.first_arm], last.answers[comparison.second_arm]
        # Who asked for an answer does not choose by style while one of the two is none.
        if any(words(one.text) < 3 or admits(one.text) for one in (first, second)) or prefer(first.text) == prefer(
            second.text
        ):
            continue
        better = prefer(first.text) > prefer(second.text)
        yield comparison.round_id, *((first, second) if better else (second, first)), "first" if better else "second"


def plain_answers(services: Services, topics: list[dict], adapter: str | None) -> list[str]:
    """Greedy answers without any principle, a batch of rows a topic at a time."""
    model = services.model
    settings = DecodeSettings(temperature=0, max_new_tokens=120, no_repeat_ngram=model.no_repeat_ngram)
    arms, answers = build_arms(["baseline"], torch.ones(1), settings), []
    for topic in topics:
        context = model.chat_ids(chat([{"role": "user", "content": topic["prompts"][0]}]))
        forward = lambda *args: model.forward(*args, adapter=adapter)  # noqa: E731
        events = decode(forward, [context], arms, settings, model.end_ids)
        answers.append(model.decode([e.token for step in events for e in step if e.token is not None]))
    return answers


def describe(
    answers: list[str], topics: list[dict], everything: list[dict], prefer: Callable[[str], float]
) -> dict[str, Any]:
    """Length, style, fluency (see `is_fluent`), topic (see `on_topic`) of answers, and whether they say that they do not know."""
    lengths = sorted(map(words, answers))
    fluent, near = sum(map(is_fluent, answers)), sum(on_topic(answers, topics, everything))
    n, admits = len(answers), admission()
    return {
        "mean_words": round(sum(lengths) / n, 1),
        "shortest_words": lengths[0],
        "fluent": share(fluent, n).__dict__,
        "on_topic": share(near, n).__dict__,
        "does_not_know": share(sum(map(admits, answers)), n).__dict__,
        "with_markers": None if prefer(answers[0]) < 0 else share(sum(prefer(a) > 0 for a in answers), n).__dict__,
    }


def is_fluent(text: str) -> bool:
    """No four words stand twice and the answer ends with a full stop, question or exclamation mark."""
    tokens = text.lower().split()
    fours = [tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3)]
    return len(fours) == len(set(fours)) and text.rstrip("\"')").endswith((".", "!", "?"))


def on_topic(answers: list[str], topics: list[dict], everything: list[dict], beyond: bool = False) -> list[bool]:
    """Of each answer whether by TF-IDF its own topic's text (plain answer, points, short answer) is the nearest of `CANDIDATES`, itself
    and others drawn by lot. An answer without a word in common with any is not.

    Args:
        answers, topics: one topic an answer.
        everything: the topics that others are drawn from.
        beyond: whether the words of the question and of the topic's name do not count, which an answer that knows nothing holds too.
    """
    rng, found = random.Random(0), []
    for answer, topic in zip(answers, topics, strict=True):
        others = rng.sample([t for t in everything if t is not topic], CANDIDATES - 1)
        texts = [" ".join([t["subject"], t["plain"], t["short"], *t["points"]]) for t in (topic, *others)]
        asked = re.findall(r"\w+", f"{topic['prompts'][0]} {topic['subject']}".lower()) if beyond else []
        vectorizer = TfidfVectorizer(stop_words=[*ENGLISH_STOP_WORDS, *asked], sublinear_tf=True)
        table = vectorizer.fit_transform([*texts, answer])
        near = (table[:-1] @ table[-1].T).toarray().ravel()
        found.append(bool(near.argmax() == 0 and near[0] > 0))
    return found


def measure(style: str, settings: RefreshSettings, seed: int) -> dict[str, Any]:
    """The whole story for one style, in a data folder of its own."""
    services = build(Settings(data=Path(tempfile.mkdtemp())))
    topics = known_topics(seed)
    unseen, rest, prefer = topics[:UNSEEN], topics[UNSEEN:], preference(style)
    chosen: list[Pair] = []
    stream = choose(services, style, rest, prefer)
    for round_id, _, _, side in islice(stream, CHOICES):
        services.label.vote(round_id, side, "simulated")
    for round_id, better, other, _ in islice(stream, FURTHER):
        chosen.append(make_pair(services.store.round(round_id).messages, better.text, other.text))
    before = describe(plain_answers(services, unseen, None), unseen, topics, prefer)
    *_, outcome = services.learn.refresh(services.learn.pairs(style), style, settings)
    services.model.load_adapter(outcome.version, Path(services.settings.data) / "adapters" / outcome.version)
    answers = plain_answers(services, unseen, outcome.version)
    after = describe(answers, unseen, topics, prefer)
    encoded = encode(services.model, chosen)
    gaps = margins(services.model, encoded, outcome.version) - margins(services.model, encoded, None)
    further = share(count_above_zero(gaps), len(gaps))
    return {
        "style": style,
        "refresh": {
            key: getattr(outcome, key)
            for key in ("pairs_train", "pairs_heldout", "seconds", "published", "reason", "losses")
        },
        "further_pairs": further.__dict__,
        "before": before,
        "after": after,
        "examples": [(t["prompts"][0], a) for t, a in zip(unseen[:6], answers[:6], strict=True)],
    }


def main() -> None:
    """Prints a report for every style and keeps it as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.learning", description=__doc__.splitlines()[0])
    parser.add_argument("--styles", default="curt,pirate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    for name, field in RefreshSettings.model_fields.items():
        if name in ("epochs", "learning_rate", "rank", "beta", "sft_weight", "pairs_per_step"):
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(field.default or 0), default=field.default)
    options = parser.parse_args()
    settings = RefreshSettings(**{k: v for k, v in vars(options).items() if k in RefreshSettings.model_fields})
    reports = []
    for style in options.styles.split(","):
        report = measure(style, settings, options.seed)
        reports.append(report)
        before, after, further = report["before"], report["after"], report["further_pairs"]
        print(
            f"== {style}: {report['refresh']['pairs_train']}+{report['refresh']['pairs_heldout']} pairs, {report['refresh']['seconds']} s; {report['refresh']['reason']}"
        )
        print(
            f"   {further['n']} further pairs: {further['value']:.3f}, interval {further['interval'][0]:.3f} to {further['interval'][1]:.3f}"
        )
        for key in before:
            print(f"   {key}: {_shown(before[key])} -> {_shown(after[key])}")
        for prompt, answer in report["examples"]:
            print(f"   {prompt}\n      {answer!r}")
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "settings": settings.model_dump(), "reports": reports}, indent=1)
        )


def _shown(value: Any) -> str:
    return (
        f"{value['value']:.2f} [{value['interval'][0]:.2f}, {value['interval'][1]:.2f}]"
        if isinstance(value, dict)
        else str(value)
    )


if __name__ == "__main__":
    main()
