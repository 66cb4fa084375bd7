"""The starter's corpus: every voice tells the real topics well-formed, in its own words."""

import random
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from spellchecker import SpellChecker

from app.starter import STARTER_FOLDER as STARTER
from app.starter import compose as composer
from app.starter.dataset import Corpus
from app.starter.held_out import is_held_out
from app.starter.names import invented_like, is_nameable
from app.starter.voices import EXTRAS, blend, load_voices

CONFIG = yaml.safe_load((STARTER / "config.yaml").read_text())
NOTHING = {f"{kind}_share": 0 for kind in ("gold", "unknown", "smalltalk", "followup", "echo", "begun")}
KEYS_OF_A_TOPIC = {
    "domain",
    "kind",
    "subject",
    "plural",
    "wish",
    "prompts",
    "plain",
    "points",
    "short",
    "because",
    "risk",
    "cheap",
    "green",
    "bold",
    "like",
    "expert",
}
TOPICS = composer.load_topics(STARTER / "corpus" / "topics")
VOICES = load_voices(STARTER / "corpus" / "voices")
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
    found = voice.markers
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
    bare = {**TOPICS[0], **dict.fromkeys(EXTRAS)}
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
        load_voices(tmp_path)


# --- the bank of topics


def test_there_are_enough_topics_domains_voices_and_wordings() -> None:
    assert len(TOPICS) >= 2000 and len({topic["domain"] for topic in TOPICS}) >= 25
    corpus = Corpus(CONFIG)
    assert len(set(NAMES) - {"plain"}) >= 24 and set(corpus.wordings) == set(NAMES) - {"plain"}
    for name, wordings in corpus.wordings.items():
        roles, manners, readers, principles, indirect = (set(group) for group in wordings.groups)
        assert min(len(roles), len(readers), len(manners | principles | indirect)) >= 24, name


def test_every_topic_has_the_forms_that_the_voices_need() -> None:
    article_or_verbless = re.compile(r"(the|an?|it|your?|this|is|are|there|to|by|if|when)\b", re.IGNORECASE)
    for topic in TOPICS:
        where = topic["wish"]
        assert set(topic) == KEYS_OF_A_TOPIC, where
        assert all(str(value).isascii() and "  " not in str(value) for value in topic.values()), where
        assert topic["kind"] in ("how", "fact") and isinstance(topic["plural"], bool), where
        assert len(topic["prompts"]) == 8 == len({prompt.lower() for prompt in topic["prompts"]}), where
        assert all(2 <= len(prompt.split()) <= 16 for prompt in topic["prompts"]), where
        assert 20 <= len(topic["plain"].split()) <= 55 and topic["plain"].endswith(".") and "!" not in topic["plain"], (
            where
        )
        assert 4 <= len(topic["points"]) <= 8 and len(set(topic["points"])) == len(topic["points"]), where
        assert topic["short"][0].isupper() or topic["short"][0].isdigit(), where
        clauses = [topic[key] for key in ("wish", "because", "risk", "like", "expert", "subject")]
        clauses += [topic[key] for key in ("cheap", "green", "bold") if topic[key]]
        assert all(
            clause and clause[-1] not in ".!?,;"
            for clause in [*clauses, *topic["points"]]
            if not clause.endswith("a.m.") and not clause.endswith("p.m.")
        ), where
        if topic["kind"] == "how":
            assert not any(article_or_verbless.match(point) for point in topic["points"]), where


def test_content_is_spelled_by_the_dictionary() -> None:
    """Names and terms that no dictionary has are in a list that was read by a person."""
    fields = ("plain", "short", "because", "risk", "like", "expert", "wish", "subject", "cheap", "green", "bold")
    texts = [" ".join([*topic["points"], *(topic[field] or "" for field in fields)]) for topic in TOPICS]
    texts += [text for g in Corpus(CONFIG).gold for text in [g["plain"]]]
    words = {word for text in texts for word in re.findall(r"(?<![\w'-])[a-z]+(?![\w'-])", text)}
    read = set((Path(__file__).parent / "words_beyond_the_dictionary.txt").read_text().split())
    assert SpellChecker().unknown(words) - read == set()


def test_no_held_out_topic_is_trained_on_in_other_words() -> None:
    corpus = Corpus(CONFIG)
    held = [topic for topic in corpus.topics if is_held_out("topic", topic["prompts"][0])]
    known = [" ".join([t["wish"], *t["prompts"], t["subject"]]) for t in corpus.known_topics]
    known += [" ".join([g["prompt"], *g["wordings"]]) for g in corpus.known_gold]
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit(known)
    table = vectorizer.transform([" ".join([t["wish"], *t["prompts"], t["subject"]]) for t in held])
    nearness = (table @ vectorizer.transform(known).T).toarray()
    twins = [(held[i]["wish"], known[nearness[i].argmax()][:60]) for i in range(len(held)) if nearness[i].max() > 0.6]
    assert len(held) > 40 and twins == []


# --- variety and sense of what is composed


@pytest.mark.parametrize("name", NAMES)
def test_no_frame_stands_in_more_than_three_percent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted over many answers; frames without words of their own ("- {point}") are the form itself."""
    drawn: list[tuple[str, str]] = []
    render = composer._render

    def recorded(frame: str, *arguments: object) -> str:
        text = render(frame, *arguments)
        drawn.append((frame, text))
        return text

    monkeypatch.setattr(composer, "_render", recorded)
    rng, counts, answers_made = random.Random(1), Counter(), 3000
    for _ in range(answers_made):
        drawn.clear()
        text = composer.compose(rng.choice(TOPICS), VOICES[name], rng)
        counts.update(
            {
                frame
                for frame, part in drawn
                if part in text and re.search(r"[A-Za-z]{2}", re.sub(r"\{\w*\}", "", frame))
            }
        )
    worst, times = counts.most_common(1)[0]
    # Three standard errors of a share of 3 % in so many answers.
    assert times / answers_made <= 0.03 + 3 * (0.03 * 0.97 / answers_made) ** 0.5, (worst, times / answers_made)


@pytest.mark.parametrize("name", NAMES)
def test_no_four_words_stand_twice_in_an_answer(name: str) -> None:
    assert share([composer.repeats_itself(text) for text in SAMPLES[name]]) <= 0.002


def test_repeated_words_are_found_whatever_their_case_and_signs() -> None:
    assert composer.repeats_itself("Keep the pan low. Then, keep the pan LOW!")
    assert not composer.repeats_itself("Keep the pan low. Keep the pan hot.")


def test_two_personas_show_in_one_answer() -> None:
    rng = random.Random(4)
    pirate = [re.compile(marker) for marker in VOICES["pirate"].markers]
    curt = [composer.compose(topic, blend(VOICES["pirate"], VOICES["curt"]), rng) for topic in TOPICS[:200]]
    assert share([len(text.split()) <= 20 for text in curt]) >= 0.97
    assert share([any(marker.search(text) for marker in pirate) for text in curt]) >= 0.8
    listed = [composer.compose(topic, blend(VOICES["pirate"], VOICES["lister"]), rng) for topic in TOPICS[:200]]
    assert all(text.count("\n- ") >= 2 for text in listed)
    assert share([any(marker.search(text) for marker in pirate) for text in listed]) >= 0.95
    nervous = [re.compile(marker) for marker in VOICES["nervous"].markers]
    both = [composer.compose(topic, blend(VOICES["pirate"], VOICES["nervous"]), rng) for topic in TOPICS[:200]]
    assert share([any(m.search(t) for m in pirate) and any(m.search(t) for m in nervous) for t in both]) >= 0.7


def test_a_second_turn_answers_what_was_asked() -> None:
    corpus = Corpus({**CONFIG, **NOTHING, "followup_share": 1})
    followups = {prompt: entry for entry in corpus.followups for prompt in entry["prompts"]}
    seen = Counter()
    for sample in islice(corpus.samples(6), 1500):
        ((_, answered),) = sample.earlier
        topics = [t for t in corpus.known_topics if t["prompts"][0] == sample.topic]  # two may share their first prompt
        entry = followups[sample.user]
        assert answered and sample.answer
        if entry.get("voice") == "curt":
            assert len(sample.answer.split()) <= 20
            seen["curt"] += 1
        elif entry.get("voice") == "lister":
            assert "- " in sample.answer
            seen["lister"] += 1
        elif "extra" in entry and sample.persona == "plain":
            assert any(t[entry["extra"]].rstrip(".")[1:] in sample.answer for t in topics if t.get(entry["extra"]))
            seen["extra"] += 1
    assert min(seen.values()) > 20 and len(seen) == 3


def test_what_is_asked_for_word_for_word_is_said_word_for_word() -> None:
    corpus = Corpus({**CONFIG, **NOTHING, "echo_share": 1})
    samples = list(islice(corpus.samples(6), 1000))
    again = [sample for sample in samples if sample.earlier]
    assert 400 < len(again) < 600 and all(sample.answer == sample.earlier[0][1] for sample in again)
    for sample in samples:
        assert sample.earlier or sample.answer[1:-1] in sample.user


def test_a_known_thing_is_asked_for_in_the_forms_of_unknown_ones_too() -> None:
    corpus = Corpus({**CONFIG, **NOTHING})
    written = {prompt for topic in corpus.known_topics for prompt in topic["prompts"]}
    more = {prompt for prompts in corpus.asked_too.values() for prompt in prompts}
    subjects: dict[str, set[str]] = {}  # two topics may share their first prompt
    for topic in corpus.known_topics:
        subjects.setdefault(topic["prompts"][0], set()).add(topic["subject"])
    forms = [re.compile(re.escape(form).replace(r"\{thing\}", "(.+)")) for form in corpus.unknown["prompts"]]
    samples = list(islice(corpus.samples(6), 2000))
    bare = [
        s for s in samples if any((found := form.fullmatch(s.user)) and found[1] in subjects[s.topic] for form in forms)
    ]
    assert 0.08 < len(bare) / len(samples) < 0.16
    assert share([s.user in more for s in samples]) > 0.2
    assert all(s.user in written for s in islice(corpus.samples(6, held_out=True), 2000))


def test_prompts_lose_words_in_training_and_never_become_held_out_ones() -> None:
    corpus = Corpus({**CONFIG, **NOTHING})
    whole = {p for t in corpus.known_topics for p in t["prompts"]} | {p for ps in corpus.asked_too.values() for p in ps}
    words = {topic: set() for topic in {t["prompts"][0] for t in corpus.known_topics}}
    for topic in corpus.known_topics:
        first = topic["prompts"][0]
        words[first] |= {w for p in topic["prompts"] + corpus.asked_too.get(first, []) for w in p.split()}
        words[first] |= {w for form in corpus.unknown["prompts"] for w in form.format(thing=topic["subject"]).split()}
    samples = list(islice(corpus.samples(6), 3000))
    assert all(set(s.user.split()) <= words[s.topic] for s in samples)
    assert not any(is_held_out("prompt", s.user) for s in samples if s.user not in whole)
    assert 0.3 < share([s.user not in whole for s in samples]) < 0.6


def test_the_first_words_of_an_answer_break_off_where_the_answer_goes_on() -> None:
    corpus = Corpus({**CONFIG, **NOTHING, "begun_share": 1})
    samples = list(islice(corpus.samples(6), 2000))
    lengths = [len(s.answer.split(" ")) for s in samples if not s.ended]
    assert (min(lengths), max(lengths)) == (4, 20) and len(set(lengths)) == 17
    # A curt answer is often short enough to be whole.
    assert share([s.ended for s in samples if s.persona == "curt"]) > 0.2 and {s.persona for s in samples} >= set(NAMES)
    known = {t["prompts"][0]: t for t in corpus.known_topics}
    begun = [s for s in samples if s.persona == "plain" and s.answer in known[s.topic]["plain"]]
    assert begun and all(s.ended == (s.answer == known[s.topic]["plain"]) for s in begun)


def test_further_prompts_are_of_trained_topics_and_none_is_held_out() -> None:
    corpus = Corpus(CONFIG)
    first = {topic["prompts"][0] for topic in corpus.topics}
    assert set(corpus.asked_too) <= first and sum(map(len, corpus.asked_too.values())) > 10_000
    assert not any(is_held_out("prompt", prompt) for prompts in corpus.asked_too.values() for prompt in prompts)
    held_out = {p.lower() for t in corpus.topics for p in t["prompts"] if is_held_out("prompt", p)}
    assert not held_out & {p.lower() for prompts in corpus.asked_too.values() for p in prompts}


@pytest.mark.parametrize(
    ("thing", "prompt", "expected"),
    [
        ("an alternator", "How can I tell if my alternator is failing?", r"How can I tell if my [a-z]+ is failing\?"),
        ("an alternator", "Explain what an alternator is for.", r"Explain what a [a-z]+ is for\."),
        ("Nairobi", "Plan me two days in Nairobi.", r"Plan me two days in [A-Z][a-z]+\."),
        ("brake pads", "brake pads grinding when i stop", r"([a-z]+ )?[a-z]+s grinding when i stop"),
    ],
)
def test_an_invented_name_takes_the_place_of_a_real_one(thing: str, prompt: str, expected: str) -> None:
    for seed in range(20):
        name, asked = invented_like(random.Random(seed), thing, prompt)
        assert re.fullmatch(expected, asked), asked
        bare = re.sub("^(an?|the) ", "", name)
        assert bare in asked and name != thing and not name.startswith("an ")


def test_a_prompt_that_does_not_say_the_name_takes_no_other() -> None:
    assert is_nameable("the Moon", "Is the moon round?") and not is_nameable("a cat", "Why do cats purr?")


def test_unknown_things_are_named_in_the_answer() -> None:
    corpus = Corpus({**CONFIG, **NOTHING, "unknown_share": 1})
    assert len(corpus.beyond) >= 500
    samples = list(islice(corpus.samples(6), 1500))
    assert all(sample.topic.lower() in sample.answer.lower() for sample in samples)
    # Most are names that no other sample holds: what cannot be learnt by heart has to be copied.
    times = Counter(sample.topic for sample in samples)
    assert share([times[sample.topic] == 1 for sample in samples]) > 0.45
    general = {prompt.split("{thing}")[0] for prompt in corpus.unknown["prompts"]}
    assert 0.25 < share([not s.user.startswith(tuple(g for g in general if g)) for s in samples]) < 0.7
