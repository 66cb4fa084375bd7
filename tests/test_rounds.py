"""Rounds by the meaning of their prompts, with the bundled embedder and a real database."""

import pytest

from app.embedding import Embedder
from app.errors import InputError, NotAllowedError
from app.rounds import Rounds
from storage.store import Store
from tests.rounds import a_round

PROMPTS = (
    "How do I get my dog to stop barking?",
    "What should I cook with eggs and potatoes?",
    "How do I get my dog to stop barking at night?",
    "Why is the sky blue?",
    "why is the sky blue",
)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path)
    for number, prompt in enumerate(PROMPTS):
        store.add_round(a_round(f"r{number}", prompt))
    return store


def open_to_all(token: str) -> None:
    pass


def test_the_nearest_in_meaning_come_first(store: Store, embedder: Embedder):
    found = Rounds(store, embedder, open_to_all).like("my dog barks too much", count=2)
    assert {f.round_id for f in found} == {"r0", "r2"} and found[0].nearness >= found[1].nearness > 0.2
    assert [f.prompt for f in found] == [PROMPTS[int(f.round_id[1:])] for f in found]


def test_later_rounds_and_deleted_ones_are_heeded(store: Store, embedder: Embedder):
    rounds = Rounds(store, embedder, open_to_all)
    assert rounds.like("a birthday present for my aunt", count=1)[0].nearness < 0.9
    store.add_round(a_round("r9", "A birthday present for my aunt?"))
    assert rounds.like("a birthday present for my aunt", count=1)[0].round_id == "r9"
    with store.database.write() as db:
        db["answers"].delete_where("round = ?", ["r9"])
        db["rounds"].delete_where("id = ?", ["r9"])
    assert len(rounds.like("a birthday present for my aunt", count=100)) == len(PROMPTS)


def test_the_last_turn_of_a_conversation_counts(store: Store, embedder: Embedder):
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    store.add_round(a_round("talk", "", messages=[*turns, {"role": "user", "content": "When do tulips bloom?"}]))
    assert Rounds(store, embedder, open_to_all).like("when do tulips bloom", count=1)[0].round_id == "talk"


def test_prompts_that_were_asked_twice_stand_together(store: Store, embedder: Embedder):
    rounds = Rounds(store, embedder, open_to_all)
    assert ["r3", "r4"] in [[f.round_id for f in group] for group in rounds.duplicates()]
    for nearness in (0.0, 0.5, 0.9):
        groups = rounds.duplicates(nearness)
        named = [found.round_id for group in groups for found in group]
        assert len(named) == len(set(named))
        for oldest, *others in groups:
            assert oldest.nearness == 1.0 and others and all(found.nearness >= nearness for found in others)
            assert all(int(found.round_id[1:]) > int(oldest.round_id[1:]) for found in others)


def test_nothing_collected_is_nothing_found(tmp_path, embedder: Embedder):
    rounds = Rounds(Store(tmp_path), embedder, open_to_all)
    assert rounds.like("tea") == [] and rounds.duplicates() == []


def test_what_cannot_be_searched_for_is_named(store: Store, embedder: Embedder):
    def closed(token: str) -> None:
        if token != "open sesame":
            raise NotAllowedError("this needs the owner's token")

    rounds = Rounds(store, embedder, closed)
    for ask in (lambda: rounds.like("dog"), rounds.duplicates):
        with pytest.raises(NotAllowedError):
            ask()
    for values, message in (
        ({"text": "  "}, "empty"),
        ({"text": "dog", "count": 0}, "0 rounds were asked for"),
        ({"text": "dog", "count": 1001}, "1001 rounds"),
        ({"text": "dog", "count": None}, "None rounds"),
    ):
        with pytest.raises(InputError, match=message):
            rounds.like(**values, token="open sesame")
    for nearness in (1.5, float("nan"), None):
        with pytest.raises(InputError, match=f"nearness is {nearness}"):
            rounds.duplicates(nearness, token="open sesame")
