"""The persona library: what loads, and what each kind of fault in a file is told; and the wordings of the starter's corpus."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from app.errors import PlumblineError
from personas import Persona, PersonaError, load_library

ROOT = Path(__file__).parent.parent
WORDINGS = sorted((ROOT / "app" / "starter" / "corpus" / "wordings").glob("*.yaml"))
LEAST = {"roles": 14, "readers": 8, "manners": 14, "principles": 10, "indirect": 26}
GOOD = {
    "id": "sailor",
    "name": "The Sailor",
    "principle": "a sailor",
    "framing": "answer_as",
    "tags": ["character"],
    "ratio": 2.0,
    "description": "Salt in every word.",
    "example_prompts": ["How do I tie a knot?"],
    "example_answers": {"How do I tie a knot?": "Over, under, and haul it tight, shipmate."},
}


def write(folder: Path, stem: str = "sailor", drop: str = "", **changes: object) -> Path:
    """Write GOOD with changes, and without the key `drop`, as `<stem>.yaml`."""
    content = {key: value for key, value in (GOOD | changes).items() if key != drop}
    path = folder / f"{stem}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def words(wording: str) -> str:
    """A wording without what a reader would not hear: capitals and the closing stop."""
    return wording.lower().rstrip(".!")


def test_library_holds_at_least_twelve_personas_under_their_file_names():
    library = load_library()
    assert len(library) >= 12
    assert all(persona_id == persona.id for persona_id, persona in library.items())
    assert len({persona.name for persona in library.values()}) == len(library)
    assert {persona.framing for persona in library.values()} == {"answer_as", "the_reader_is", "principle"}


@pytest.mark.parametrize("persona", load_library().values(), ids=lambda persona: persona.id)
def test_persona_of_the_library_shows_three_prompts_and_answers_some_of_them(persona: Persona):
    assert len(persona.example_prompts) == 3
    assert 1 <= len(persona.example_answers) <= 2
    assert set(persona.example_answers) <= set(persona.example_prompts)
    assert 1.0 <= persona.ratio <= 3.0
    # "Answer as a pirate", "The reader is seven years old": only a whole sentence stands by itself.
    assert (persona.framing == "principle") == persona.principle.endswith(".")
    # The curt persona is bounded from above only: an answer of fifteen words would not be hers.
    shortest, longest = (1, 12) if persona.id == "curt" else (15, 45)
    for answer in persona.example_answers.values():
        assert shortest <= len(answer.replace("- ", "").split()) <= longest


def test_persona_is_read_as_it_was_written_and_cannot_be_changed(tmp_path: Path):
    write(tmp_path)
    sailor = load_library(tmp_path)["sailor"]
    assert sailor.model_dump(mode="json") == GOOD
    with pytest.raises(ValidationError, match="frozen"):
        sailor.ratio = 3.0


@pytest.mark.parametrize("key", GOOD)
def test_missing_key_is_named_with_its_file(tmp_path: Path, key: str):
    path = write(tmp_path, drop=key)
    with pytest.raises(PersonaError) as caught:
        load_library(tmp_path)
    assert str(path) in str(caught.value)
    assert f"`{key}` is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("strength", 2.0),  # unknown
        ("id", "Sailor!"),
        ("id", "1sailor"),
        ("name", ""),
        ("name", "n" * 61),
        ("principle", "   "),
        ("principle", "p" * 2001),
        ("framing", "speak_as"),
        ("tags", []),
        ("tags", "character"),
        ("ratio", -0.1),
        ("ratio", 10.5),
        ("ratio", float("nan")),
        ("ratio", float("inf")),
        ("ratio", "strong"),
        ("ratio", True),
        ("description", None),
        ("example_prompts", []),
        ("example_answers", ["Over and under."]),
    ],
)
def test_bad_value_is_named_with_file_and_key(tmp_path: Path, key: str, value: object):
    path = write(tmp_path, **{key: value})
    with pytest.raises(PersonaError) as caught:
        load_library(tmp_path)
    assert str(path) in str(caught.value)
    assert f"`{key}`" in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("ratio", [0, 10, 2.5])
def test_ratio_may_be_any_finite_number_from_zero_to_ten(tmp_path: Path, ratio: float):
    write(tmp_path, ratio=ratio)
    assert load_library(tmp_path)["sailor"].ratio == ratio


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path):
    write(tmp_path, ratio=11, framing="speak_as")
    with pytest.raises(PersonaError, match=r"(?s)`framing`.*'speak_as'.*`ratio`.*11"):
        load_library(tmp_path)


@pytest.mark.parametrize("text", ["id: [sailor", "id: !!python/object:os.system {}", "id: 2026-13-01", "\tid: sailor"])
def test_bad_yaml_is_named_with_its_file(tmp_path: Path, text: str):
    path = tmp_path / "sailor.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError, match="not readable as YAML") as caught:
        load_library(tmp_path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_not_text_are_bad_yaml(tmp_path: Path):
    (tmp_path / "sailor.yaml").write_bytes(b"id: \xff\xfe")
    with pytest.raises(PersonaError, match=r"sailor\.yaml: not readable as YAML"):
        load_library(tmp_path)


@pytest.mark.parametrize("text", ["", "- sailor", "sailor"])
def test_file_that_is_no_mapping_is_refused_with_what_it_holds(tmp_path: Path, text: str):
    (tmp_path / "sailor.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError, match=r"sailor\.yaml: expected a mapping that begins with `id`") as caught:
        load_library(tmp_path)
    assert repr(yaml.safe_load(text)) in str(caught.value)


def test_key_given_twice_is_refused_instead_of_the_last_one_winning(tmp_path: Path):
    path = write(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + "ratio: 3.0\n", encoding="utf-8")
    with pytest.raises(PersonaError, match=r"sailor\.yaml: `ratio` is given twice.*'3.0'"):
        load_library(tmp_path)


def test_id_other_than_the_file_name_is_refused(tmp_path: Path):
    write(tmp_path, stem="mariner")
    with pytest.raises(PersonaError, match=r"mariner\.yaml: `id` should be the file's name 'mariner'.*'sailor'"):
        load_library(tmp_path)


def test_id_that_another_file_has_is_refused(tmp_path: Path):
    write(tmp_path)
    write(tmp_path, stem="second")
    with pytest.raises(PersonaError, match=r"second\.yaml: `id` 'sailor' is already taken"):
        load_library(tmp_path)


def test_folder_without_personas_is_refused(tmp_path: Path):
    with pytest.raises(PersonaError, match="no persona found"):
        load_library(tmp_path / "nowhere")


def test_library_is_loaded_without_torch_gradio_or_the_app_but_its_errors():
    script = "import sys, personas; personas.load_library(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "gradio", "storage"} & {name.split(".")[0] for name in loaded}
    assert {name for name in loaded if name.split(".")[0] == "app"} == {"app", "app.errors"}


def test_fault_of_a_file_is_told_to_people_like_any_other():
    assert issubclass(PersonaError, PlumblineError)


def test_every_persona_of_the_library_has_wordings():
    assert set(load_library()) <= {path.stem for path in WORDINGS}


@pytest.mark.parametrize("path", WORDINGS, ids=lambda path: path.stem)
def test_wordings_fit_the_templates_that_multiply_them(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    wordings = yaml.safe_load(text)
    assert list(wordings) == ["id", *LEAST]
    assert wordings["id"] == path.stem
    for key, least in LEAST.items():
        assert len(wordings[key]) >= least, key
        assert len({words(wording) for wording in wordings[key]}) == len(wordings[key]), key
        assert all(wording == wording.strip() and "{" not in wording for wording in wordings[key])
    # A noun phrase, as "You are ..." wants it: with an article, or a name.
    beginnings = ("a ", "an ", "the ", "someone ", "my ", "one of ", "unit ")
    assert [r for r in wordings["roles"] if not (r.startswith(beginnings) or r[0].isupper())] == []
    assert [phrase for phrase in wordings["roles"] + wordings["readers"] if phrase[-1] in ".!?"] == []
    sentences = wordings["manners"] + wordings["principles"]
    assert [sentence for sentence in sentences if not (sentence[0].isupper() and sentence[-1] in ".!?")] == []
    # A manner that is also an indirect wording would leak from what is trained on into what is held out, or count twice.
    assert not {words(wording) for wording in sentences} & {words(wording) for wording in wordings["indirect"]}


def test_no_wording_is_shared_between_two_personas():
    owners = defaultdict(set)
    for path in WORDINGS:
        wordings = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in LEAST:
            for wording in wordings[key]:
                owners[words(wording)].add(path.stem)
    assert {wording: ids for wording, ids in owners.items() if len(ids) > 1} == {}
