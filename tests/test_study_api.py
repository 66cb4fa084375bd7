"""The endpoints of the labelling room on a real server: two raters from end to end, and what no payload says before the end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.decoding.arms import ARM_NAMES
from app.label import rater_of
from tests.test_api import TOKEN, Server, serving, told
from tests.test_studies import until

ARMS = ["linear_aligned", "baseline"]


@pytest.fixture(scope="module")
def server(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tiny_folders["llama"], tmp_path_factory.mktemp("studies"), TOKEN) as running:
        yield running


def made(server: Server, name: str, prompts: int = 4, **values: Any) -> str:
    """A study with all of its answers."""
    asked = {"prompts": [f"Question {n} of {name}?" for n in range(prompts)], "personas": ["pirate"], "arms": ARMS}
    study = server.client().predict(
        **{"name": name, **asked, "max_new_tokens": 5, "token": TOKEN, **values}, api_name="/study_create"
    )["study"]
    until(lambda: overview(server, study)["answered"] == prompts)
    return study


def overview(server: Server, study: str) -> dict[str, Any]:
    return next(o for o in server.client().predict(api_name="/studies") if o["id"] == study)


def test_two_raters_from_end_to_end(server: Server):
    client, study = server.client(), made(server, "whole", overlap=2, repeat=0.5)
    version = client.predict(api_name="/consent")["version"]
    for rater in ("ann's secret", "bob's secret"):
        me = {"study": study, "rater": rater}
        assert "needs your consent" in told(client, "/study_next", **me)
        client.predict(rater=rater, consent_version=version, name="", api_name="/enter")
        for number in range(6):
            task = client.predict(**me, api_name="/study_next")
            assert task["state"] == "task" and (task["done"], task["total"]) == (number, 6)
            assert client.predict(**me, api_name="/study_next") == task
            mine = {
                "round_id": task["round_id"],
                "rater": rater,
                "chips": ["truer"],
                "session": "s1",
                "reason": "because",
            }
            voted = client.predict(choice="first", **mine, dwell_seconds=1.5, api_name="/vote")
            again = client.predict(choice="second", **mine, api_name="/vote")
            assert voted == again and voted["choice"] == "first"
            assert voted["first_arm"] is None and voted["second_arm"] is None
        undone = client.predict(**me, api_name="/study_undo")
        assert undone == task
        edit = {"edited_side": "second", "edited": "Arr, matey!"}
        client.predict(round_id=task["round_id"], choice="tie", rater=rater, **edit, api_name="/vote")
        assert client.predict(**me, api_name="/study_next") == {"state": "finished"}
    assert (overview(server, study)["votes"], overview(server, study)["wanted"]) == (8, 8)
    shown = client.predict(**me, api_name="/study_reveal")
    assert [row["choice"] for row in shown] == ["first"] * 5 + ["tie"]
    assert all({row["first_arm"], row["second_arm"]} == set(ARMS) for row in shown)
    stored = [vote for vote, _ in server.services.store.votes() if vote.rater == rater_of("bob's secret")]
    assert stored[0].consent_version == version and stored[0].chips == ("truer",) and stored[0].dwell_seconds == 1.5
    assert (stored[-1].edited_side, stored[-1].edited) == ("second", "Arr, matey!")
    labels = client.predict(rater="bob's secret", api_name="/my_labels")
    assert len(labels) == 6 and labels[0]["edited"] == "Arr, matey!"
    assert client.predict(rater="bob's secret", api_name="/delete_my_labels") == {"votes": 6, "rounds": 0}
    assert client.predict(rater="bob's secret", api_name="/my_labels") == []
    assert overview(server, study)["votes"] == 4


def test_no_payload_tells_the_arms_apart_before_the_end(server: Server):
    client, study = server.client(), made(server, "blind", prompts=2)
    me = {"study": study, "rater": "cat's secret"}
    client.predict(rater=me["rater"], consent_version=server.services.raters.consent.version, api_name="/enter")
    raw = []

    def call(name: str, *values: Any) -> dict[str, Any]:
        stream = server.post(name, json.dumps({"data": list(values)}))
        raw.append(stream)
        (last,) = json.loads(stream.split("data: ")[-1])
        return last

    for number in range(2):
        task = call("study_next", study, me["rater"])
        assert task["done"] == number
        call("vote", task["round_id"], "second", me["rater"], "", [], "", "", "", -1)
    call("study_undo", study, me["rater"])
    call("study_skip", task["round_id"], me["rater"])
    assert call("study_next", study, me["rater"]) == {"state": "finished"}
    call("my_labels", me["rater"])
    call("studies")
    assert len(raw) == 9 and not [arm for arm in ARM_NAMES for stream in raw if arm in stream]
    assert "linear_aligned" in str(client.predict(**me, api_name="/study_reveal"))


def test_the_owners_token_makes_and_closes_studies(server: Server):
    client = server.client()
    asked = {"name": "mine", "prompts": ["Why?"], "personas": ["pirate"], "arms": ARMS}
    assert "owner's token" in told(client, "/study_create", **asked)
    study = made(server, "closing", prompts=1)
    assert "owner's token" in told(client, "/study_close", study=study)
    client.predict(study=study, token=TOKEN, api_name="/study_close")
    assert overview(server, study)["state"] == "closed"
    assert "mine" not in {o["name"] for o in client.predict(api_name="/studies")}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("/study_next", {"study": "forged", "rater": "ann"}, "needs your consent|does not exist"),
        ("/study_skip", {"round_id": "forged", "rater": "ann"}, "was not handed to you"),
        ("/study_reveal", {"study": "forged", "rater": "ann"}, "does not exist"),
        ("/enter", {"rater": "", "consent_version": "x"}, "secret is empty"),
        ("/enter", {"rater": "ann", "consent_version": "x"}, "has the version 'x'"),
        ("/delete_my_labels", {"rater": ""}, "secret is empty"),
        ("/study_create", {"name": "n", "prompts": [], "personas": ["pirate"], "arms": ARMS, "token": TOKEN}, "no prompts"),
        ("/study_create", {"name": "n", "prompts": ["a"], "personas": ["pirate"], "arms": ["x"], "token": TOKEN}, "two different"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_sentence(server: Server, name: str, values: dict[str, Any], message: str):
    sentence = told(server.client(), name, **values)
    assert any(part in sentence for part in message.split("|"))


@pytest.mark.parametrize("body", ["3", '"abc"', "null", '{"a": 1}', '[["a"]]', "[1, 2]"])
def test_prompts_of_another_shape_are_refused_without_a_traceback(server: Server, body: str):
    values = f'["shape {abs(hash(body))}", {body}, {body}, {body}, 1, 0.1, "none", false, 2, 0.8, 0.5, 1, 5, "{TOKEN}"]'
    answered = server.post("study_create", f'{{"data": {values}}}')
    assert "Traceback" not in answered and "error" in answered
