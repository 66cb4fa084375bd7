"""`python -m tests.benchmarks.topics`: where between prompt and answer the starter loses what is asked about.

On prompts that training never saw, it looks for the topic among all that were trained: in the words of the prompt, in the prompt's tokens, in
the hidden state after each layer at the prompt's end, and in the greedy plain answer. It knows nothing of personas.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
import yaml
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction.text import TfidfVectorizer

from app.model import LanguageModel
from app.prompts import chat
from app.starter.answering import Case, answer
from app.starter.dataset import Corpus, Sample
from app.starter.evaluate import CONFIG, fraction
from app.starter.held_out import is_held_out
from tests.benchmarks.machine import machine

RESULTS = Path("tests/benchmarks/results/topics.json")
ROWS_AT_ONCE = 64
Asked = list[tuple[str, int]]  # prompts, each with the number of its topic


def asked(corpus: Corpus) -> tuple[Asked, Asked, Asked]:
    """All prompts of the topics that training knows: of a topic's own eight those that it draws and those that it never does, and the
    further ones (`asked/`), which are trained on, too, and say less of their topic."""
    own = [(prompt, number) for number, topic in enumerate(corpus.known_topics) for prompt in topic["prompts"]]
    further = [
        (prompt, number)
        for number, topic in enumerate(corpus.known_topics)
        for prompt in corpus.asked_too.get(topic["prompts"][0], [])
    ]
    return (
        [one for one in own if not is_held_out("prompt", one[0])],
        [one for one in own if is_held_out("prompt", one[0])],
        further,
    )


def in_words(trained: Asked, judged: Asked, **how: Any) -> list[bool]:
    """Whether each prompt is nearest to all the trained prompts of its own topic, by TF-IDF; `how` as `TfidfVectorizer` takes it."""
    together: dict[int, list[str]] = {}
    for prompt, topic in trained:
        together.setdefault(topic, []).append(prompt)
    vectorizer = TfidfVectorizer(sublinear_tf=True, **how)
    table = vectorizer.fit_transform([" ".join(prompts) for prompts in together.values()])
    return nearest(table, list(together), vectorizer.transform([prompt for prompt, _ in judged]), judged)


def in_answers(corpus: Corpus, answers: list[str], judged: Asked) -> list[bool]:
    """Whether each answer is nearest to the plain text of its own topic, by TF-IDF."""
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    table = vectorizer.fit_transform([topic["plain"] for topic in corpus.known_topics])
    return nearest(table, list(range(table.shape[0])), vectorizer.transform(answers), judged)


def nearest(table: Any, topics: list[int], texts: Any, judged: Asked) -> list[bool]:
    """Whether the largest product of each row of `texts` (sparse, texts x words) with those of `table` (topics x words) is its topic's."""
    found = (texts @ table.T).toarray()
    # A text that shares no word with any topic is of none.
    return [
        bool(row.max() > 0) and topics[row.argmax()] == topic for row, (_, topic) in zip(found, judged, strict=True)
    ]


def in_states(trained: torch.Tensor, of_trained: Asked, states: torch.Tensor, judged: Asked) -> list[bool]:
    """Whether a linear reader finds each prompt's topic in its hidden state; states of shape (prompts, width).

    The reader is a linear discriminant analysis, that is the nearest mean of a topic's trained prompts where the spread within topics
    is made even; so it says what is there to be read, and not what could be trained into it.
    """
    reader = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    reader.fit(trained.numpy(), [topic for _, topic in of_trained])
    return (reader.predict(states.numpy()) == [topic for _, topic in judged]).tolist()


@torch.inference_mode()
def hidden_states(model: LanguageModel, prompts: Asked) -> torch.Tensor:
    """Each layer's output at the end of each prompt, where the answer begins: shape (layers + 1, prompts, width); 0 is the embedding."""
    rows = [model.chat_ids(chat([{"role": "user", "content": prompt}])) for prompt, _ in prompts]
    states: dict[int, torch.Tensor] = {}
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = order[start : start + ROWS_AT_ONCE]
        # What stands right of a token does not reach it, so padding there needs no mask.
        longest = len(rows[some[-1]])
        ids = torch.tensor([rows[n] + [model.pad_id] * (longest - len(rows[n])) for n in some], device=model.device)
        layers = model._model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        for row, number in enumerate(some):
            states[number] = torch.stack([layer[row, len(rows[number]) - 1].float().cpu() for layer in layers])
    return torch.stack([states[number] for number in range(len(rows))], dim=1)


def measure(model: LanguageModel, corpus: Corpus, answered: int) -> dict[str, Any]:
    """Shares of prompts whose topic is found, by where it is looked for; `answered` prompts of each side are answered."""
    own, held_out, further = asked(corpus)
    trained = own + further
    tokens = {"analyzer": model.tokenizer.tokenize}
    scores: dict[str, Any] = {
        "topics": len(corpus.known_topics),
        "trained prompts": len(trained),
        "words of the prompt": fraction(in_words(trained, held_out)),
        "tokens of the prompt": fraction(in_words(trained, held_out, **tokens)),
    }
    known, states = hidden_states(model, trained), hidden_states(model, held_out)
    for layer in range(1, len(known)):
        scores[f"hidden state after layer {layer}"] = fraction(
            in_states(known[layer], trained, states[layer], held_out)
        )
    for side, prompts in (("held-out", held_out), ("trained", own), ("further trained", further)):
        judged = random.Random(71).sample(prompts, answered)
        cases = [Case(Sample((), prompt, "", topic=str(topic))) for prompt, topic in judged]
        answer(model, cases, ["baseline"], 0.0, f"{side} prompts")
        found = in_answers(corpus, [case.text("baseline") for case in cases], judged)
        scores[f"greedy plain answer, {side} prompts"] = fraction(found)
    return scores


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.topics", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="starter or a folder")
    parser.add_argument("--answered", type=int, default=500, help="prompts of each side that are answered")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the shares go")
    arguments = parser.parse_args()
    model = LanguageModel.load(arguments.model)
    scores = measure(model, Corpus(yaml.safe_load(CONFIG.read_text())), arguments.answered)
    for name, value in scores.items():
        if isinstance(value, dict):
            print(f"{name:<40} {value['share']:.3f} [{value['low']:.3f}, {value['high']:.3f}] n {value['n']}")
    arguments.json.write_text(json.dumps({"model": model.revision, "machine": machine(), **scores}, indent=1) + "\n")


if __name__ == "__main__":
    main()
