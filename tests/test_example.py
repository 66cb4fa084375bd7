"""The worked example is the product's own, made with the weights that are bundled."""

from app import example
from app.pretrained import load_pretrained
from personas import load_library


def test_the_example_is_whole_and_made_with_the_bundled_starter():
    shown = example.read()
    assert set(shown.answers) == {"baseline", "principle_prompted", "linear_aligned"}
    assert "".join(shown.pieces) == shown.answers["linear_aligned"].text
    assert len(shown.pieces) == len(shown.told) == len(shown.answers["linear_aligned"].token_ids)
    *_, revision = load_pretrained("starter", "cpu", "float32")
    assert shown.model_revision == revision, "the starter has changed: run python -m app.example"


def test_what_a_first_visitor_is_offered_is_in_the_library():
    library = load_library()
    # The prompt that stands in the form on a first visit, above the answers to it.
    assert library[example.PERSONA].example_prompts[0] == example.PROMPT
    assert {persona for persona, _ in example.CARDS} <= set(library)
