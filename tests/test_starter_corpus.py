"""The starter's corpus: every voice tells the real topics well-formed, in its own words."""

import random
import re
from pathlib import Path

import pytest

from app.starter import STARTER_FOLDER as STARTER
from app.starter import compose as composer

TOPICS = composer.load_topics(STARTER / "corpus" / "topics")
VOICES = composer.load_voices(STARTER / "corpus" / "voices")
NAMES = sorted(VOICES)
WRITTEN = " ".join(str(value) for topic in TOPICS for value in topic.values()).lower()
DRAWS = 300
ABBREVIATIONS = r"(?<!\ba\.m\.)(?<!\bp\.m\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bDr\.)(?<!\bvs\.)"


def answers(name: str, seed: int = 1, draws: int = DRAWS) -> list[str]:
    rng = random.Random(seed)
    return [composer.compose(rng.choice(TOPICS), VOICES[name], rng) for _ in range(draws)]


SAMPLES = {name: answers(name) for name in NAMES}


def sentences(text: str) -> list[str]:
    return [s.strip() for s in re.split(ABBREVIATIONS + r"(?<=[.!?]) +|\n", text) if s.strip()]


def share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def test_topics_and_voices_are_there() -> None:
    assert TOPICS
    assert {"plain", "curt", "pirate", "nervous", "bureaucrat"} <= set(NAMES)
    assert all(VOICES[name].id == name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_length(name: str) -> None:
    low, high = VOICES[name].words
    assert share([low <= len(text.split()) <= high for text in SAMPLES[name]]) >= 0.99
    assert all(len(text.split()) <= 70 for text in SAMPLES[name])


@pytest.mark.parametrize("name", NAMES)
def test_marked(name: str) -> None:
    voice, texts = VOICES[name], SAMPLES[name]
    found = composer.markers(voice)
    if voice.check == "dashes":
        assert all(line.startswith("- ") for text in texts for line in text.split("\n"))
        assert all("\n" in text for text in texts)
    elif voice.check == "lines":
        assert all(text.count("\n") >= 2 and "\n- " not in text for text in texts)
    elif voice.check and voice.check.startswith("max_words"):
        limit = int(voice.check.split(":")[1])
        assert all(len(text.split()) <= limit for text in texts)
    elif name != "plain":
        assert found, f"{name} has neither markers nor a check"
    if found:
        unmarked = [text for text in texts if not any(re.search(m, text) for m in found)]
        assert len(unmarked) <= 0.03 * DRAWS, unmarked[:3]
        stray = [text for text in SAMPLES["plain"] if any(re.search(m, text) for m in found)]
        assert len(stray) <= 0.03 * DRAWS, stray[:3]


def test_plain_is_plain() -> None:
    assert not any("!" in text or "\n" in text for text in SAMPLES["plain"])


@pytest.mark.parametrize("name", NAMES)
def test_clean_text(name: str) -> None:
    for text in SAMPLES[name]:
        assert text == text.strip() and text.isascii(), text
        bare = re.sub(r"\b([ap]\.m|e\.g|i\.e)\.", "", text)
        assert not re.search(r"[{}]|  |\.\.|[.!?,;:][.,;:]| [.,!?;](?!\d)", bare), text
        if VOICES[name].form == "prose":
            assert text[-1] in ".!?", text


@pytest.mark.parametrize("name", NAMES)
def test_capitals(name: str) -> None:
    for text in SAMPLES[name]:
        for sentence in sentences(text):
            first = sentence.removeprefix("- ").lstrip("\"'(")
            assert not first[:1].islower() or first[1:2].isupper(), (sentence, text)


@pytest.mark.parametrize("name", NAMES)
def test_articles(name: str) -> None:
    silent_or_spelled = r"(?:hour|honest|heir|honou?r|[FHLMNRSX]\b|[FHLMNRSX]\d?[A-Z]|8|11\b|18\b|80)"
    glide = r"(?:one|once|uni|us[ue]|euro|U[A-Z]|u[kt])"
    for text in SAMPLES[name]:
        for wrong in (rf"\b[Aa] (?!{glide})[aeiou]\w*", rf"\b[Aa]n (?!{silent_or_spelled})[b-df-hj-np-tv-z]\w*"):
            made = [found for found in re.findall(wrong, text) if found.lower() not in WRITTEN]
            assert not made, (made, text)


@pytest.mark.parametrize("name", NAMES)
def test_no_sentence_twice(name: str) -> None:
    for text in SAMPLES[name]:
        said = [s for s in sentences(text) if len(s.split()) > 3]
        assert len(said) == len(set(said)), text


@pytest.mark.parametrize("name", NAMES)
def test_answers_vary(name: str) -> None:
    texts = answers(name, seed=2, draws=1000)
    starts = [" ".join(text.split()[:3]) for text in texts]
    assert max(map(starts.count, set(starts))) <= 0.065 * len(texts)
    assert len(set(texts)) >= 0.6 * len(texts)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_text(name: str) -> None:
    assert answers(name, 7) == answers(name, 7)


def test_words_are_exchanged_whole_and_articles_mended() -> None:
    swaps = {"friend": "ally", "you": "ye", "your": "yer"}
    assert composer._swap("a friend of your youth", swaps) == "an ally of yer youth"
    topic = {**TOPICS[0], "kind": "fact", "wish": "what I do when my phone rings"}
    assert composer._slots(topic, {})["wish"] == "what you do when your phone rings"


def test_every_point_of_an_answer_is_different() -> None:
    rng = random.Random(3)
    for topic in TOPICS:
        text = composer.compose(topic, VOICES["pirate"], rng).lower()
        assert all(text.count(point.lower()) <= 1 for point in topic["points"]), text


def test_null_extras_are_skipped() -> None:
    bare = {**TOPICS[0], **dict.fromkeys(composer.EXTRAS)}
    for name in NAMES:
        rng = random.Random(5)
        assert not any("None" in composer.compose(bare, VOICES[name], rng) for _ in range(20))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("form: prose", "form: prose\ncolour: red", "colour"),
        ("form: prose", "form: verse", "form"),
        ("id: pirate", "id: parrot", "id"),
        ("    So ye wish to {wish}, eh, sailor?", "    Ye want {wsih}?", "openers.how"),
        ("  bold:\n    rate: 0.25", "  bald:\n    rate: 0.25", "extras.bald"),
        ("words: [22, 55]", "words: [55, 22]", "words"),
    ],
)
def test_a_bad_voice_file_names_file_and_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    text = (STARTER / "corpus" / "voices" / "pirate.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "pirate.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"pirate\.yaml: {re.escape(key)}\b"):
        composer.load_voices(tmp_path)
