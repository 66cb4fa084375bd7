"""Studies with answers as the store takes them, for tests that need tasks and no model that answers."""

from dataclasses import replace

from storage.records import Item, Round, Study
from storage.store import Store
from storage.studies import StudyTable
from tests.rounds import a_round

ARMS = ("baseline", "linear_aligned")


def both_rounds(item: Item, mark: str = "") -> tuple[Round, Round]:
    """The rounds of an item: the same answers, the sides exchanged."""
    prompt = item.messages[-1]["content"]
    one = a_round(f"{mark}{item.study}-{item.id}-x", prompt, item.persona, rater="study", item=item.id)
    other = replace(one, id=f"{mark}{item.study}-{item.id}-y", first_arm=one.second_arm, second_arm=one.first_arm)
    return one, other


def add_study(
    store: Store,
    id_: str = "s",
    prompts: int = 10,
    personas: tuple[str, ...] = ("pirate",),
    overlap: int = 1,
    repeat: float = 0.0,
    answered: bool = True,
) -> Study:
    """Stores a study of questions of its own; with `answered` its rounds, too."""
    table = StudyTable(store.database)
    study = Study(id_, f"The study {id_}", ARMS, overlap, repeat, {"seed": 1}, "", "tiny", "r")
    messages = [[{"role": "user", "content": f"Question {number} of {id_}?"}] for number in range(prompts)]
    table.add(study, [(persona, asked) for asked in messages for persona in personas])
    if answered:
        answer(store, id_)
    return table.get(id_)


def answer(store: Store, study: str, most: int | None = None) -> None:
    """Answers the items of a study, all or so many."""
    table = StudyTable(store.database)
    while most != 0 and (item := table.unanswered("r", study)):
        assert table.answer(item, both_rounds(item))
        most = None if most is None else most - 1
