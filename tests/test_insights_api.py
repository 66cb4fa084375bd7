"""The endpoint `/insights` and the tab's own events on a real server, over hand-made votes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client.exceptions import AppError

from tests.rounds import add_choice
from tests.test_api import TOKEN, Server, serving


@pytest.fixture(scope="module")
def server(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an owner, on which 24 of 30 votes on pirates are for the aligned answer."""
    with serving(tiny_folders["llama"], tmp_path_factory.mktemp("insights"), TOKEN) as running:
        for number in range(30):
            add_choice(
                running.services.store, number, "pirate", "first" if number < 24 else "second", f"rater{number % 5}"
            )
        yield running


def test_counts_come_at_once_and_the_rest_once_it_is_computed(server: Server):
    client = server.client()
    first = client.predict(persona="pirate", blind_only=True, api_name="/insights")
    (pair,) = first["quick"]["pairs"]
    assert (pair["one"], pair["decisive"]["value"], pair["decisive"]["n"]) == ("linear_aligned", 0.8, 30)
    assert pair["raters"] == [] and pair["missing"] == {"0.55": 753, "0.60": 164, "0.70": 17}
    while (found := client.predict(persona="pirate", blind_only=True, api_name="/insights"))["computing"]:
        server.services.insights._thread.join()
    assert found["slow"]["clustered"][0]["raters"] == 5 and found["slow"]["made"] and found["fault"] == ""
    assert found["slow"]["groups"][0]["strengths"][0]["name"] == "linear_aligned"


def test_rows_of_raters_ask_for_the_owner_and_faults_are_sentences(server: Server):
    client = server.client()
    for token in ("", "guessed"):
        with pytest.raises(AppError, match="token"):
            client.predict(raters=True, token=token, api_name="/insights")
    found = client.predict(raters=True, token=TOKEN, api_name="/insights")
    assert {row["name"] for row in found["quick"]["pairs"][0]["raters"]} == {f"rater{i}" for i in range(5)}
    for wrong in ({"persona": "nobody"}, {"study": "none"}):
        with pytest.raises(AppError, match=r"'(nobody|none)'"):
            client.predict(**wrong, api_name="/insights")


def test_the_tab_shows_figures_and_single_raters_to_the_owner_only(server: Server):
    for token, seen in (("", False), (TOKEN, True)):
        last = server.press("insights-again", ["*", "", False, token])[-1]
        assert last["success"]
        shown = "".join(str(value) for value in last["output"]["data"])
        assert "80% of 30" in shown and ("rater rater0" in shown) == seen
    last = server.press("insights-again", ["nobody", "", False, ""])[-1]
    assert "nobody has voted on the persona" in str(last["output"]["data"]).lower()
