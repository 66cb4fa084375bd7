"""Choices and rated answers as the rows that one objective learns from. It knows texts, rewards and token ids; no loss, no optimiser."""

from dataclasses import dataclass, replace

from app.errors import InputError
from app.model import LanguageModel
from app.refresh.answers import EncodedPair, encode, encode_row
from app.refresh.methods import OBJECTIVES
from app.refresh.pairs import Pair, Rated
from app.refresh.refresh_settings import RefreshSettings
from app.refresh.rewards import Encode, Rewarded, rewards_of


@dataclass(frozen=True)
class TrainingRows:
    """`asked` is what the prompt is to say at answer time, where the objective wrote rewards into it; else empty. `rated`: the answers
    judged by themselves that are among the rows."""

    rows: list[EncodedPair]
    rated: list[Rated]
    asked: str = ""


def reward_sentence(reward: float) -> str:
    """What conditional alignment (CA, arXiv 2308.12050) writes into the prompt, as a principle is: of the answer as it is while it
    learns, of the best that was seen when it answers. That the reward stands in the prompt is the paper's, the sentence is ours."""
    return f"The reward of this answer is {reward:.1f}."


def training_rows(
    model: LanguageModel,
    pairs: list[Pair],
    rated: list[Rated],
    settings: RefreshSettings,
    encode_texts: Encode,
) -> TrainingRows:
    """The rows of a refresh; answers of a kind that the objective does not learn from are left out.

    Args:
        model: whose token ids they are.
        pairs, rated: choices, and answers that were liked, disliked or written by themselves.
        settings: the objective.
        encode_texts: of the embedding reward, texts to unit vectors.

    Raises:
        InputError: one is longer than the model can read, or no reward is above the threshold of "fa".
    """
    objective = OBJECTIVES[settings.objective]
    kept = [r for r in rated if ("demonstrations" if r.demonstration else "ratings") in objective.learns_from]
    singles = [_single(model, number, r) for number, r in enumerate(kept, start=1)]
    if not objective.reward:
        return TrainingRows(encode(model, pairs) + singles, kept)
    answers = [
        Rewarded(p.question, text, liked) for p in pairs for text, liked in ((p.chosen, True), (p.rejected, False))
    ]
    answers += [Rewarded(r.question, r.answer, r.liked) for r in kept]
    rewards = rewards_of(settings.reward or objective.reward, answers, encode_texts)
    if objective.likelihood == "filtered" and max(rewards) <= settings.reward_threshold:
        raise InputError(
            f"the reward threshold is {settings.reward_threshold:g}, and no answer is rewarded more; the rewards lie between "
            f"{min(rewards):.2f} and {max(rewards):.2f}: give a lower one"
        )
    if objective.writes_reward:
        return _written(model, pairs, kept, rewards)
    of_pairs, of_singles = rewards[: 2 * len(pairs)], rewards[2 * len(pairs) :]
    both = zip(of_pairs[0::2], of_pairs[1::2], strict=True)
    rows = [replace(row, rewards=two) for row, two in zip(encode(model, pairs), both, strict=True)]
    rows += [replace(row, rewards=(reward, reward)) for row, reward in zip(singles, of_singles, strict=True)]
    return TrainingRows(rows, kept)


def _single(model: LanguageModel, number: int, rated: Rated, asked: str = "") -> EncodedPair:
    sides = (rated.answer, None) if rated.liked else (None, rated.answer)
    row = encode_row(model, f"rated answer {number}", rated.messages, *sides, asked)
    return replace(row, demonstration=rated.demonstration)


def _written(model: LanguageModel, pairs: list[Pair], rated: list[Rated], rewards: list[float]) -> TrainingRows:
    # Every answer by itself, since the prompts of a choice's two answers now differ; all of them are made likelier under their own.
    singles = [Rated(p.prompt, text, liked=True, round=p.round) for p in pairs for text in (p.chosen, p.rejected)]
    singles += [replace(r, liked=True) for r in rated]
    told = zip(singles, rewards, strict=True)
    rows = [_single(model, i, r, reward_sentence(reward)) for i, (r, reward) in enumerate(told, start=1)]
    return TrainingRows(rows, rated, reward_sentence(max(rewards)))
