"""`python -m app.starter.train_embedder`: trains the embedder on the corpus' paraphrases with sentence-transformers' own trainer.

One vector a token of the starter's tokenizer, averaged (StaticEmbedding); it knows the corpus' trained side, and nothing of the
starter's weights.
"""

import argparse
import random
import tempfile
from pathlib import Path

import yaml
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from tokenizers import Tokenizer, normalizers

from app.starter import EMBEDDER_FOLDER, STARTER_FOLDER, WEIGHTS_FOLDER
from app.starter.compose import compose
from app.starter.dataset import Corpus
from app.starter.held_out import is_held_out

DIMENSIONS, EPOCHS, SEED = 128, 4, 7
PAIRS_OF_A_TOPIC, ANSWERS_OF_A_PERSONA = 6, 150


def paraphrases(corpus: Corpus, seed: int = SEED) -> dict[str, Dataset]:
    """Texts that mean the same, as (anchor, positive): two wordings of a prompt or a prompt and its plain answer; a
    description of a persona, or an answer in its voice, and that persona's first manner. Only the trained side of the
    held-out line."""
    rng = random.Random(seed)
    prompts, personas, answers = [], [], []
    for topic in corpus.known_topics:
        known = [prompt for prompt in topic["prompts"] if not is_held_out("prompt", prompt)]
        for _ in range(PAIRS_OF_A_TOPIC):
            prompts.append(
                tuple(rng.sample([*known, topic["plain"]], 2)) if known else (topic["subject"], topic["plain"])
            )
    for persona, wordings in corpus.wordings.items():
        known = [[w for w in group if not is_held_out("wording", w)] for group in wordings.groups]
        name = known[1][0]
        personas += [(wording, name) for group in known for wording in rng.sample(group, min(150, len(group)))]
        topics = rng.sample(corpus.known_topics, ANSWERS_OF_A_PERSONA)
        answers += [(compose(topic, corpus.voices[persona], rng), name) for topic in topics]
    rng.shuffle(personas)
    rng.shuffle(answers)
    return {
        kind: Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]})
        for kind, pairs in (("prompts", prompts), ("personas", personas), ("answers", answers))
    }


def train(corpus: Corpus, tokenizer: Tokenizer, out: Path) -> None:
    """Trains and writes the embedder (safetensors) to `out`."""
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(" "), normalizers.Lowercase()])
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=DIMENSIONS)], device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=512,
            learning_rate=0.05,
            warmup_steps=20,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            save_strategy="no",
            report_to="none",
            seed=SEED,
            use_cpu=True,
        )
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=paraphrases(corpus), loss=MultipleNegativesRankingLoss(model)
        ).train()
    model.save_pretrained(str(out), create_model_card=False)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m app.starter.train_embedder", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tokenizer", type=Path, default=WEIGHTS_FOLDER, help="folder with the starter's tokenizer.json"
    )
    parser.add_argument("--out", type=Path, default=EMBEDDER_FOLDER, help="where the embedder goes")
    arguments = parser.parse_args()
    corpus = Corpus(yaml.safe_load((STARTER_FOLDER / "config.yaml").read_text()))
    train(corpus, Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json")), arguments.out)


if __name__ == "__main__":
    main()
