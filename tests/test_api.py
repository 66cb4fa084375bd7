"""The endpoints of a real server on a tiny model, by `gradio_client`, by plain HTTP, and by the page's own events as a browser sends them."""

import contextlib
import json
import math
import re
import socket
import threading
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from pydantic import SecretStr

from app.decoding.arms import ARM_NAMES
from app.services import Services, build
from app.settings import Settings
from app.sweep import VALUES
from app.ui.page import build_page, launch
from app.ui.render import ARM_TITLES
from tests.rounds import a_round, add_choice

HANG = 600.0
PROMPT = "Why is the sky blue?"
TOKEN = "kept-by-the-owner"
ARMS_ASKED = (list(ARM_NAMES), ["baseline", "linear_aligned"])


@dataclass
class Server:
    """A running page with what lies under it."""

    url: str
    services: Services

    def client(self) -> Client:
        return Client(self.url, verbose=False, analytics_enabled=False, httpx_kwargs={"timeout": HANG})

    def config(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}config", timeout=HANG).json()

    def event(self, elem_id: str) -> int:
        """The index of what a click on a component calls, as the page's own script reads it."""
        config = self.config()
        ids = {component["id"] for component in config["components"] if component["props"].get("elem_id") == elem_id}
        (found,) = (d["id"] for d in config["dependencies"] if any(target in ids for target, _ in d["targets"]))
        return found

    def press(self, elem_id: str, data: list[Any]) -> list[dict[str, Any]]:
        """Joins the queue as a browser does; returns every message up to the end of the event."""
        session = uuid.uuid4().hex
        body = {
            "data": data,
            "fn_index": self.event(elem_id),
            "session_hash": session,
            "event_data": None,
            "trigger_id": None,
        }
        httpx.post(f"{self.url}gradio_api/queue/join", json=body, timeout=HANG).raise_for_status()
        messages = []
        with httpx.stream(
            "GET", f"{self.url}gradio_api/queue/data", params={"session_hash": session}, timeout=HANG
        ) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    messages.append(json.loads(line.removeprefix("data:")))
                    if messages[-1]["msg"] in ("process_completed", "close_stream"):
                        break
        return messages

    def post(self, name: str, body: str) -> str:
        """Calls a named endpoint by plain HTTP with a body as it stands; returns the stream of its results."""
        started = httpx.post(
            f"{self.url}gradio_api/call/{name}",
            content=body,
            headers={"content-type": "application/json"},
            timeout=HANG,
        )
        if started.status_code != 200:
            return started.text
        return httpx.get(f"{self.url}gradio_api/call/{name}/{started.json()['event_id']}", timeout=HANG).text


@contextlib.contextmanager
def serving(model: Path, data: Path, token: str | None = None) -> Iterator[Server]:
    services = build(
        Settings(data=data, model=str(model), device="cpu", admin_token=SecretStr(token) if token else None)
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = build_page(services)
    _, url, _ = launch(page, port=port, prevent_thread_lock=True)
    try:
        yield Server(url, services)
    finally:
        page.close(verbose=False)


@pytest.fixture(scope="module")
def server(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tiny_folders["llama"], tmp_path_factory.mktemp("open")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page whose owner has a token, with ten stored choices on the persona pirate."""
    with serving(tiny_folders["llama"], tmp_path_factory.mktemp("guarded"), TOKEN) as running:
        for number in range(10):
            add_choice(running.services.store, number)
        yield running


def compare(client: Client, **values: Any) -> dict[str, Any]:
    return client.predict(
        **{"prompt": PROMPT, "persona": "pirate", "seed": 3, "max_new_tokens": 12, **values}, api_name="/compare"
    )


def told(client: Client, api_name: str, **values: Any) -> str:
    """The message of a call that fails."""
    with pytest.raises(AppError) as caught:
        client.predict(**values, api_name=api_name)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


# --- what a program gets


def test_personas_are_found_by_meaning(server: Server):
    found = server.client().predict("speak like an old sea captain", api_name="/personas")
    assert found[0]["id"] == "pirate" and found[0]["nearness"] >= found[1]["nearness"]


def test_rounds_are_found_by_meaning_by_the_owner(guarded: Server):
    compare(guarded.client(), prompt="How do I get my dog to stop barking?")
    ask = {"like": "my dog barks all night", "count": 1, "api_name": "/rounds"}
    with pytest.raises(AppError, match="owner's token"):
        guarded.client().predict(**ask)
    (found,) = guarded.client().predict(**ask, token=TOKEN)["rounds"]
    assert "barking" in found["prompt"] and 0 < found["nearness"] <= 1
    assert guarded.client().predict(token=TOKEN, api_name="/rounds")["duplicates"] == []


def test_personas_are_listed(server: Server):
    listed = server.client().predict(api_name="/personas")
    assert {persona["id"] for persona in listed} >= set(server.services.catalogue.library)
    assert all(set(persona) == {"id", "name", "principle", "framing", "ratio"} for persona in listed)


def test_only_the_promised_endpoints_are_public(server: Server):
    named = server.client().view_api(return_format="dict")["named_endpoints"]
    versions = {"/versions", "/delete_version", "/download_version", "/upload_version"}
    asked = {"/studies", "/study_create", "/study_close", "/study_next", "/study_skip", "/study_undo", "/study_reveal"}
    learning = {"/lessons", "/compare_versions", "/roll_back"}
    raters = {"/consent", "/enter", "/my_labels", "/delete_my_labels"}
    ours = {"/compare", "/vote", "/personas", "/rounds", "/refresh", "/publish", "/export", "/online"}
    owners = {"/gauges", "/people", "/ban", "/lift_ban", "/server_log", "/model"}
    own = {"/my_refresh", "/my_versions", "/delete_my_version", "/save_persona", "/offer_persona", "/delete_persona"}
    further = {"/sync_status", "/import_pairs", "/insights", "/undo", "/round", "/history", "/sweep"}
    assert set(named) == ours | versions | asked | raters | learning | owners | own | further


def test_a_round_is_voted_on_undone_continued_read_and_listed(server: Server):
    client, me = server.client(), "a rater of rounds"
    first = compare(client, rater=me)
    assert "picked" in told(client, "/compare", prompt="And then?", persona="pirate", after=first["round_id"], rater=me)
    assert client.predict(first["round_id"], me, api_name="/undo") == {"undone": False}
    client.predict(first["round_id"], "first", me, api_name="/vote")
    assert client.predict(first["round_id"], me, api_name="/undo") == {"undone": True}
    client.predict(first["round_id"], "second", me, api_name="/vote")

    then = compare(client, prompt="And then?", after=first["round_id"], rater=me)
    read = client.predict(then["round_id"], api_name="/round")
    picked = first["answers"]["linear_aligned"]["text"]
    said = [(m["role"], m["content"]) for m in read["messages"]]
    assert said == [("user", PROMPT), ("assistant", picked), ("user", "And then?")]
    assert read["answers"]["baseline"]["text"] == then["answers"]["baseline"]["text"] and "rater" not in read

    blind = compare(client, blind=True, rater=me)
    assert "has no vote yet" in told(client, "/round", round_id=blind["round_id"])
    listed = client.predict(me, api_name="/history")
    assert [(past["id"], past["choice"]) for past in listed] == [
        (blind["round_id"], ""), (then["round_id"], ""), (first["round_id"], "second")
    ]  # fmt: skip
    assert client.predict("somebody else", api_name="/history") == []


def test_a_sweep_answers_at_every_strength(server: Server):
    asked = {"prompt": PROMPT, "persona": "pirate", "temperature": 0, "seed": 3, "max_new_tokens": 8}
    swept = server.client().predict(**asked, api_name="/sweep")
    assert [point["value"] for point in swept["points"]] == list(VALUES["ratio"])
    answers = compare(server.client(), temperature=0, max_new_tokens=8, ratio=2)["answers"]
    by_ratio = {point["value"]: point["text"] for point in swept["points"]}
    assert (by_ratio[0], by_ratio[2]) == tuple(answers[arm]["text"] for arm in ("principle_prompted", "linear_aligned"))
    assert all(math.isfinite(point[scale]) for point in swept["points"] for scale in ("fidelity", "fluency"))
    assert "kl_budget" in told(server.client(), "/sweep", **asked, over="love")


def test_the_sync_says_how_it_stands(server: Server):
    told = server.client().predict(api_name="/sync_status")
    assert told == {
        "on": False,
        "dataset": "",
        "last_synced": "",
        "waiting": 0,
        "fault": "",
        "unreadable": 0,
        "loses_all": False,
    }


def test_open_comparison_tells_everything_by_arm_and_is_stored(server: Server):
    result = compare(server.client())
    assert set(result) == {"round_id", "model", "adapter", "settings", "answers"} and list(result["answers"]) == list(
        ARM_NAMES
    )
    stored = server.services.store.round(result["round_id"])
    for arm, answer in result["answers"].items():
        assert answer == {
            key: getattr(stored.answers[arm], key) for key in ("text", "token_ids", "finish_reason", "seconds")
        }
    assert result["settings"] == stored.settings and stored.settings["seed"] == 3
    assert compare(server.client())["answers"]["linear_aligned"]["text"] == result["answers"]["linear_aligned"]["text"]


def test_principle_of_ones_own_and_ratio_0(server: Server):
    result = compare(
        server.client(),
        persona="",
        principle="an old sailor",
        framing="answer_as",
        ratio=0,
        arms="principle_prompted,linear_aligned",
    )
    assert result["answers"]["principle_prompted"]["text"] == result["answers"]["linear_aligned"]["text"]


def test_several_principles_with_weights_answer_together(server: Server):
    mix = [{"text": "Be brief."}, {"text": "a pirate", "framing": "answer_as", "weight": -0.5}]
    result = compare(server.client(), persona="", principles=mix)
    assert server.services.store.round(result["round_id"]).principles == [
        {"text": "Be brief.", "weight": 1.0},
        {"text": "Answer as a pirate.", "weight": -0.5},
    ]
    alone = compare(server.client(), persona="", principles=mix[:1])["answers"]
    written = compare(server.client(), persona="", principle="Be brief.")["answers"]
    assert {arm: a["text"] for arm, a in alone.items()} == {arm: a["text"] for arm, a in written.items()}
    for wrong, said in (
        (["Be brief."], "principles is ['Be brief.']: it must be a list, each of them an object"),
        ([{"text": "x", "weight": 9}], "weight is 9"),
        ([{"text": "x", "kind": "y"}], "kind is 'y'"),
        ([{"weight": 1}], "text is"),
    ):
        assert said in told(server.client(), "/compare", prompt=PROMPT, persona="", principles=wrong)


def test_a_persona_of_ones_own_is_ones_own_until_everybody_is_offered_it(server: Server):
    client = server.client()
    given = {"name": "Night Baker", "principle": "a baker at night", "framing": "answer_as", "rater": "mine"}
    saved = client.predict(**given, mix=[{"text": "Be kind.", "weight": -1}], offered=True, api_name="/save_persona")
    assert set(saved) == {"id", "link", "offered", "approved"} and saved["offered"] and not saved["approved"]
    own = {p["id"] for p in client.predict(rater="mine", api_name="/personas")}
    assert saved["id"] in own and saved["id"] not in {p["id"] for p in client.predict(api_name="/personas")}
    result = compare(client, persona=saved["id"], rater="mine")
    stored = server.services.store.round(result["round_id"])
    assert (stored.persona, [p["weight"] for p in stored.principles]) == (saved["id"], [1.0, -1.0])
    refused = told(client, "/compare", prompt=PROMPT, persona=saved["id"], rater="somebody else's")
    assert "does not exist" in refused and "baker at night" not in refused
    assert "does not exist" in told(client, "/delete_persona", persona=saved["id"], rater="somebody else's")

    server.services.offers.approve(saved["id"])
    assert saved["id"] in {p["id"] for p in client.predict(api_name="/personas")}
    assert "not yours" in told(client, "/delete_persona", persona=saved["id"], rater="somebody else's")
    client.predict(saved["id"], "mine", False, api_name="/offer_persona")
    assert saved["id"] not in {p["id"] for p in client.predict(api_name="/personas")}
    client.predict(saved["id"], "mine", api_name="/delete_persona")
    assert saved["id"] not in {p["id"] for p in client.predict(rater="mine", api_name="/personas")}
    for wrong, said in (
        ("x", "mix is ['x']: it must be a list, each of them an object"),
        ({"text": "x", "weight": "y"}, "a weight is 'y'"),
    ):
        assert said in told(client, "/save_persona", **given, mix=[wrong])
    assert "without a rater" in told(client, "/save_persona", **{**given, "rater": ""})


def test_an_arm_beyond_the_three_answers_where_it_is_named(server: Server):
    result = compare(server.client(), arms="amulet")
    assert list(result["answers"]) == ["amulet"] and result["answers"]["amulet"]["text"]
    assert result["round_id"] is None and result["settings"]["amulet_alpha"] == 2


def test_traces_come_with_an_open_comparison_only(server: Server):
    found = compare(server.client(), traces=True)
    lengths = {arm: len(answer["token_ids"]) for arm, answer in found["answers"].items()}
    assert {arm: len(told) for arm, told in found["traces"].items()} == lengths
    with pytest.raises(AppError, match="traces tell the arms apart"):
        compare(server.client(), traces=True, blind=True)


def test_blind_comparison_names_no_arm_until_the_vote(server: Server):
    client = server.client()
    for _ in range(4):
        result = compare(client, blind=True)
        assert set(result["answers"]) == {"first", "second"} and all(
            set(answer) == {"text"} for answer in result["answers"].values()
        )
        assert not any(name in json.dumps(result) for name in [*ARM_NAMES, *ARM_TITLES.values()])
        stored = server.services.store.round(result["round_id"])
        assert {
            side: stored.answers[arm].text for side, arm in (("first", stored.first_arm), ("second", stored.second_arm))
        } == {s: a["text"] for s, a in result["answers"].items()}
        vote = client.predict(result["round_id"], "first", "my secret", api_name="/vote")
        assert (vote["first_arm"], vote["second_arm"]) == (stored.first_arm, stored.second_arm)


def test_repeated_vote_returns_the_first(server: Server):
    client = server.client()
    round_id = compare(client)["round_id"]
    first = client.predict(round_id, "second", "my secret", "salty", api_name="/vote")
    again = client.predict(round_id, "first", "my secret", api_name="/vote")
    assert first == again and first["choice"] == "second" and first["second_arm"] == "linear_aligned"
    assert client.predict(round_id, "first", "another secret", api_name="/vote")["choice"] == "first"


def test_two_clients_at_once_get_their_own_texts(server: Server):
    asked = [
        {"persona": persona, "seed": seed, "max_new_tokens": 40}
        for seed, persona in enumerate(("pirate", "zen", "robot", "pirate"))
    ]
    clients = [server.client() for _ in asked]
    alone = [compare(client, **values)["answers"] for client, values in zip(clients, asked, strict=True)]
    barrier = threading.Barrier(len(asked))

    def ask(client: Client, values: dict[str, Any]) -> dict[str, Any]:
        barrier.wait(HANG)
        return compare(client, **values)

    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(ask, clients, asked))
    assert [{arm: a["text"] for arm, a in t["answers"].items()} for t in together] == [
        {arm: a["text"] for arm, a in t.items()} for t in alone
    ]
    assert len({t["round_id"] for t in together}) == len(asked)


def test_refresh_publish_and_export(server: Server):
    client = server.client()
    assert "more to go" in told(client, "/refresh", persona="zen")
    for number in range(10):
        add_choice(server.services.store, number, "curt")
    outcome = client.predict(persona="curt", epochs=4, api_name="/refresh")
    assert {
        "version",
        "pairs_train",
        "pairs_heldout",
        "before",
        "after",
        "losses",
        "seconds",
        "published",
        "reason",
        "samples",
        "rated",
        "asked",
    } == set(outcome)
    assert outcome["published"] is (outcome["after"]["value"] > 0.5)
    client.predict(outcome["version"], "curt", api_name="/publish")
    assert (
        compare(client, persona="curt")["adapter"] == outcome["version"]
        and compare(client, persona="curt", adapter="none")["adapter"] is None
    )
    client.predict("none", "curt", api_name="/publish")
    assert compare(client, persona="curt")["adapter"] is None
    rows = [json.loads(line) for line in Path(client.predict(api_name="/export")).read_text().splitlines()]
    of_curt = [row for row in rows if row["persona"] == "curt"]
    assert len(of_curt) == 10
    for row in of_curt:
        assert [[message["role"] for message in row[key]] for key in ("prompt", "chosen", "rejected")] == [
            ["user"],
            ["assistant"],
            ["assistant"],
        ]
        assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("tea, matey", "the sky")


@pytest.mark.parametrize("objective", ["dpo", "ipo", "slic", None])
def test_refresh_takes_an_objective_and_the_version_tells_it(guarded: Server, objective: str | None):
    asked = {"objective": objective} if objective else {}
    outcome = guarded.client().predict(persona="pirate", epochs=1, beta=0.25, token=TOKEN, api_name="/refresh", **asked)
    stored = guarded.services.store.version(outcome["version"])
    assert (stored.settings["objective"], stored.settings["beta"]) == (objective or "dpo", 0.25)
    start = {"dpo": math.log(2), "ipo": 4.0, "slic": 1.0}[objective or "dpo"]
    assert outcome["losses"][0] == pytest.approx(start, abs=1e-3)


# --- errors are sentences


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ratio": "nan"}, "ratio is .*nan.*must be a number"),
        ({"top_p": 7}, "top_p is 7.*less than or equal to 1"),
        ({"max_new_tokens": -5}, "max_new_tokens is -5"),
        ({"persona": "nobody"}, "'nobody' does not exist; known are"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"prompt": 5}, "prompt is 5: it must be a text"),
        ({"persona": ""}, "no persona and no principle was given"),
        ({"principle": "Be brief."}, "both the persona 'pirate' and a principle were given"),
        ({"persona": "", "principle": " "}, "the principle is empty"),
        ({"persona": "", "principle": "p" * 50_000}, "50000 characters long; it may have 2000"),
        ({"persona": "", "principle": ["x"]}, "principle is .*must be a text"),
        ({"persona": "", "principle": "x", "framing": "shout"}, "the framing is 'shout'"),
        ({"prompt": "why " * 500}, "tokens long; this model reads 255"),
        ({"arms": "amulett"}, "amulett"),
        ({"adapter": "../../etc"}, "must be a version such as v3"),
        ({"adapter": "v77"}, "'v77' does not exist"),
        ({"adapter": "v1*9"}, "weight of v1 is 9; it must be 0 to 3"),
        ({"arms": "adapter_guided", "adapter": "none"}, "no adapter to guide it"),
        ({"seed": -2}, "seed is -2"),
    ],
)
def test_bad_input_arrives_as_a_sentence(server: Server, values: dict[str, Any], message: str):
    given = {"prompt": PROMPT, "persona": "pirate", "max_new_tokens": 8, **values}
    assert re.search(message, told(server.client(), "/compare", **given))


def test_number_that_is_none_arrives_as_a_sentence_by_plain_http(server: Server):
    body = '{"data": ["Why?", "pirate", "", "principle", RATIO, 0.8, 0.5, 1, 4, 0.0, "none", "baseline", false, "", false, null, "baseline,linear_aligned", ""]}'
    answer = server.post("compare", body.replace("RATIO", "NaN"))
    assert "event: error" in answer and "ratio is nan" in answer
    assert "event: complete" in server.post("compare", body.replace("RATIO", "1.0"))


def test_a_choice_that_names_an_arm_is_refused(server: Server):
    server.services.store.add_round(a_round("to-be-judged", "Why?"))
    said = told(server.client(), "/vote", round_id="to-be-judged", choice="baseline", rater="x")
    assert "must be one of first, second, tie, both_bad" in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"round_id": "forged", "choice": "first", "rater": "x"}, "the round 'forged' does not exist"),
        ({"round_id": "", "choice": "first", "rater": "x"}, "does not exist"),
        ({"round_id": "forged", "choice": "first", "rater": ""}, "without a rater"),
    ],
)
def test_forged_vote_is_refused(server: Server, values: dict[str, str], message: str):
    assert message in told(server.client(), "/vote", **values)


@pytest.mark.parametrize(
    ("api_name", "values", "message"),
    [
        ("/refresh", {"persona": "nobody"}, "'nobody' does not exist"),
        ("/refresh", {"epochs": 0}, "epochs is 0"),
        ("/refresh", {"beta": "nan"}, "beta is"),
        (
            "/refresh",
            {"objective": "ppo"},
            "objective is 'ppo': input should be 'dpo', 'ipo', 'ipo_sum', 'slic', 'ulma', 'aihf', 'hpo', 'fa', 'rwr' or 'ca'",
        ),
        ("/refresh", {"objective": ["ipo"]}, "objective is ['ipo']: it must be a text"),
        ("/publish", {"version": "v77"}, "'v77' does not exist"),
        ("/publish", {"version": "none", "persona": "nobody"}, "'nobody' does not exist"),
    ],
)
def test_bad_refresh_and_publication_are_refused(server: Server, api_name: str, values: dict[str, Any], message: str):
    assert message in told(server.client(), api_name, **values)


# --- the owner's token


@pytest.mark.parametrize("token", ["", "wrong", f"{TOKEN} "])
def test_export_and_publish_are_the_owners(guarded: Server, token: str):
    client = guarded.client()
    for api_name, values in (("/export", {}), ("/publish", {"version": "none"})):
        assert "owner's token" in told(client, api_name, **values, token=token)
    assert TOKEN not in told(client, "/export", token=token)


def test_owner_may_export_and_publish(guarded: Server):
    client = guarded.client()
    assert len(Path(client.predict(token=TOKEN, api_name="/export")).read_text().splitlines()) == 10
    assert client.predict("none", "zen", TOKEN, api_name="/publish") == {"persona": "zen", "version": "none"}


def test_refresh_without_the_token_learns_nothing_and_with_it_publishes(guarded: Server):
    client, store = guarded.client(), guarded.services.store
    client.predict("none", "pirate", TOKEN, api_name="/publish")
    versions = store.versions()
    for token in ("", "wrong"):
        refused = told(client, "/refresh", persona="pirate", epochs=10, token=token)
        assert "owner's token" in refused and "/my_refresh" in refused
    assert store.versions() == versions and store.published("pirate") == ""
    owner = client.predict(persona="pirate", epochs=10, token=TOKEN, api_name="/refresh")
    assert owner["published"] is True and guarded.services.store.published("pirate") == owner["version"]


def test_token_is_nowhere_in_what_the_page_sends(guarded: Server):
    assert TOKEN not in httpx.get(guarded.url, timeout=HANG).text and TOKEN not in json.dumps(guarded.config())


def test_private_event_of_the_use_button_does_not_publish_without_the_token(guarded: Server):
    store = guarded.services.store
    client = guarded.client()
    version = client.predict(persona="pirate", epochs=2, token=TOKEN, api_name="/refresh")["version"]
    guarded.services.learn.use("pirate", version, TOKEN)
    for token in ("", "wrong", None):
        answer = json.dumps(guarded.press("use", ["none", "pirate", token]))
        assert "owner" in answer and store.published("pirate") == version
    name = next(d["api_name"] for d in guarded.config()["dependencies"] if d["id"] == guarded.event("use"))
    guarded.post(str(name), json.dumps({"data": ["none", "pirate", ""]}))
    assert store.published("pirate") == version
    assert "process_completed" in json.dumps(guarded.press("use", ["none", "pirate", TOKEN]))
    assert store.published("pirate") == ""


def test_private_event_of_the_learn_button_learns_nothing_without_the_token(guarded: Server):
    before = guarded.services.store.published("zen")
    for number in range(6):
        add_choice(guarded.services.store, number, "zen")
    versions = guarded.services.store.versions()
    answer = json.dumps(guarded.press("learn", ["zen", "", 0, 1e-3, 0.1, False]))
    assert "This needs the owner" in answer and "/my_refresh" in answer
    assert guarded.services.store.versions() == versions and guarded.services.store.published("zen") == before


# --- the learning room


def test_choices_are_told_and_two_versions_compared_blind_and_taken_back(server: Server):
    client, store = server.client(), server.services.store
    for number in range(6):
        add_choice(store, number, "grandparent")
    lessons = client.predict(persona="grandparent", api_name="/lessons")
    assert (lessons["pairs"], lessons["prompts"]) == (6, 6)
    assert [item["measure"] for item in lessons["lessons"]] == ["length", "markdown", "exclamations", "fidelity"]
    assert all(item["n"] == 6 for item in lessons["lessons"])
    version = client.predict(persona="grandparent", epochs=2, api_name="/refresh")["version"]
    ask = {"prompt": PROMPT, "persona": "grandparent", "one": "none", "other": version, "max_new_tokens": 8}
    found = client.predict(**ask, api_name="/compare_versions")
    assert set(found) == {"round_id", "answers"} and list(found["answers"]) == ["first", "second"]
    vote = client.predict(found["round_id"], "first", "my secret", api_name="/vote")
    assert {vote["first_arm"], vote["second_arm"]} == {"baseline", f"baseline @ {version}"}
    shown = client.predict(**ask, blind=False, api_name="/compare_versions")["answers"]
    assert shown == {vote["first_arm"]: found["answers"]["first"], vote["second_arm"]: found["answers"]["second"]}
    assert "two different versions" in told(client, "/compare_versions", **{**ask, "one": version})
    client.predict(version, "grandparent", api_name="/publish")
    assert client.predict(persona="grandparent", api_name="/roll_back") == {"persona": "grandparent", "version": "none"}
    assert store.published("grandparent") == ""
    # What the page is sent of a blind comparison names neither the versions nor the arm.
    sent = json.dumps(
        server.press("versus-start", [PROMPT, "grandparent", "baseline", "none", version, True, True, ""])
    )
    assert "First answer" in sent and "Which answer is better" in sent
    assert not any(name in sent for name in ("baseline", "the original model", f" {version}", f">{version}", ">Plain"))


# --- adapter versions


def test_version_is_listed_downloaded_uploaded_and_deleted(server: Server):
    client, persona = server.client(), "cheerleader"
    for number in range(10):
        add_choice(server.services.store, number, persona)
    made = client.predict(persona=persona, epochs=4, api_name="/refresh")["version"]
    listed = {version["version"]: version for version in client.predict(api_name="/versions")}
    assert (listed[made]["scope"], listed[made]["origin"], listed[made]["parent"]) == (persona, "refresh", "")
    assert (listed[made]["objective"], listed[made]["reference"], listed[made]["seed"]) == ("dpo", "base", 0)
    assert set(listed[made]["after"]) == {"value", "n", "interval"} and "samples" not in json.dumps(listed)
    path = Path(client.predict(made, api_name="/download_version"))
    with zipfile.ZipFile(path) as archive:
        assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} == set(archive.namelist())
    brought = client.predict(handle_file(path), persona, api_name="/upload_version")["version"]
    texts = [
        {arm: a["text"] for arm, a in compare(client, persona=persona, adapter=v)["answers"].items()}
        for v in (made, brought, "none")
    ]
    assert texts[0] == texts[1] != texts[2]
    client.predict(brought, persona, api_name="/publish")
    assert "is in use for cheerleader; choose another" in told(client, "/delete_version", version=brought)
    client.predict("none", persona, api_name="/publish")
    assert client.predict(brought, api_name="/delete_version") == {"deleted": brought}
    for api_name in ("/delete_version", "/download_version"):
        assert f"'{brought}'" in told(client, api_name, version=brought)
    assert brought not in {version["version"] for version in client.predict(api_name="/versions")}


@pytest.mark.parametrize(
    ("api_name", "values", "message"),
    [
        ("/delete_version", {"version": "v77"}, "'v77' does not exist"),
        ("/delete_version", {"version": "../../etc"}, "does not exist"),
        ("/download_version", {"version": "v77"}, "'v77' does not exist"),
        ("/download_version", {"version": "../../etc"}, "must be a version such as v3"),
        ("/upload_version", {"file": None}, "no file was given"),
    ],
)
def test_bad_version_is_a_sentence(server: Server, api_name: str, values: dict[str, Any], message: str):
    assert message in told(server.client(), api_name, **values)


def test_bad_upload_is_a_sentence_and_leaves_nothing(server: Server, tmp_path: Path):
    client, store = server.client(), server.services.store
    before = [version.id for version in store.versions()]
    for name, content, message in (
        ("a.zip", b"no zip", "is no whole zip"),
        ("adapter_model.bin", b"\x80\x04", "is no whole zip"),
        ("a.txt", b"", "is no whole zip"),
    ):
        (tmp_path / name).write_bytes(content)
        assert message in told(client, "/upload_version", file=handle_file(tmp_path / name))
    with zipfile.ZipFile(tmp_path / "pickle.zip", "w") as archive:
        archive.writestr("adapter_model.bin", b"\x80\x04")
    given = handle_file(tmp_path / "pickle.zip")
    assert "is a pickle, which can run code" in told(client, "/upload_version", file=given)
    assert "'nobody' does not exist" in told(client, "/upload_version", file=given, persona="nobody")
    assert [version.id for version in store.versions()] == before


def test_file_of_the_server_cannot_be_named_in_place_of_an_upload(server: Server):
    body = {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "", ""]}
    answer = server.post("upload_version", json.dumps(body))
    assert "event: error" in answer and "root:" not in answer and "version" not in answer


def test_versions_files_are_the_owners(guarded: Server, tmp_path: Path):
    client, store = guarded.client(), guarded.services.store
    made = client.predict(persona="pirate", epochs=1, token=TOKEN, api_name="/refresh")["version"]
    path = Path(client.predict(made, TOKEN, api_name="/download_version"))
    before = [version.id for version in store.versions()]
    for token in ("", "wrong"):
        for api_name, values in (
            ("/delete_version", {"version": made}),
            ("/download_version", {"version": made}),
            ("/upload_version", {"file": handle_file(path)}),
        ):
            assert "owner's token" in told(client, api_name, **values, token=token)
        for button, data in (
            ("delete-version", [made, True, "", token]),
            ("download-version", [made, token]),
            ("upload-version", [uploaded(guarded, path), "", token]),
        ):
            assert "This needs the owner" in json.dumps(guarded.press(button, data))
    assert [version.id for version in store.versions()] == before
    brought = client.predict(handle_file(path), "", TOKEN, api_name="/upload_version")["version"]
    client.predict(brought, TOKEN, api_name="/delete_version")
    assert [version.id for version in store.versions()] == before


def uploaded(server: Server, path: Path) -> dict[str, Any]:
    """A file as the page sends it: uploaded first, then named."""
    answer = httpx.post(f"{server.url}gradio_api/upload", files={"files": (path.name, path.read_bytes())}, timeout=HANG)
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def test_page_takes_away_brings_and_deletes_a_version(server: Server):
    store = server.services.store
    for number in range(10):
        add_choice(server.services.store, number, "zen")
    made = server.client().predict(persona="zen", epochs=1, api_name="/refresh")["version"]
    shown = json.dumps(server.press("download-version", [made, ""]))
    assert f"Version {made} is ready" in shown
    path = Path(re.search(rf'"path": "([^"]*plumbline-{made}.zip)"', shown)[1])
    shown = json.dumps(server.press("upload-version", [uploaded(server, path), "zen", ""]))
    brought = store.versions()[0].id
    assert f"It is version {brought} now, and not in use" in shown and "brought from elsewhere" in shown
    assert "tick the box" in json.dumps(server.press("delete-version", [brought, False, "zen", ""]))
    assert "No version was chosen" in json.dumps(server.press("delete-version", [None, True, "zen", ""]))
    assert "No file was given" in json.dumps(server.press("upload-version", [None, "zen", ""]))
    assert store.versions()[0].id == brought
    assert f"Version {brought} was deleted" in json.dumps(server.press("delete-version", [brought, True, "zen", ""]))
    assert brought not in {version.id for version in store.versions()}


# --- what the page shows


def page_inputs(blind: bool, prompt: str = PROMPT) -> list[Any]:
    asked = [prompt, "pirate", "a pirate", "answer_as", 2.0, 0.5, 0.8, 0, 8, 1, blind, "published"]
    alone = [1.0, *["", "principle", 1.0] * 3]
    return [*asked, *ARMS_ASKED, *alone, "shift", None, ""]


def click_compare(server: Server, inputs: list[Any]) -> str:
    messages = server.press("compare", inputs)
    assert messages[-1]["msg"] == "process_completed" and messages[-1]["success"], messages[-1]
    return json.dumps(messages)


def test_page_streams_every_arm_and_a_blind_one_names_none(server: Server):
    shown = click_compare(server, page_inputs(blind=False))
    assert all(name in shown for name in ARM_NAMES)
    hidden = click_compare(server, page_inputs(blind=True))
    assert "First answer" in hidden
    assert not any(name in hidden for name in [*ARM_NAMES, *(f">{title}" for title in ARM_TITLES.values())])


def test_page_shows_markup_of_a_person_as_text(server: Server):
    evil = server.services.catalogue.save(
        "Evil <img src=x>", "<img src=x onerror=alert(1)>", "principle", 1.0, "ann", offered=True
    )
    server.services.offers.approve(evil.id)
    rendered = httpx.get(f"{server.url}config", timeout=HANG).text
    assert "<b><img" not in rendered


# --- a judge in place of a person

SIX_PROMPTS = "\n".join(f"Question {number}?" for number in range(6))
QUICK_ONLINE = {"principle": "Be brief.", "prompts": SIX_PROMPTS, "steps": 1, "max_new_tokens": 6}


def test_online_returns_the_outcome_with_its_curve(server: Server):
    result = server.client().predict(**QUICK_ONLINE, annotator="embedding", objective="ipo", api_name="/online")
    assert {"version", "run", "stopped", "win_rate", "pairs", "cost", "curve", "published", "reason"} <= set(result)
    (step,) = result["curve"]
    assert step["step"] == 1 and step["stopped"] == result["stopped"] == "steps"
    assert result["win_rate"]["n"] == result["prompts_heldout"] == 2 and not result["published"]
    votes = [vote for vote in server.services.store.ai_votes() if vote.run == result["run"]]
    assert {vote.annotator for vote in votes} == {"embedding"} and len(votes) >= result["pairs"]
    exported = Path(server.client().predict(with_ai_votes=True, api_name="/export")).read_text()
    rows = [json.loads(line) for line in exported.splitlines()]
    assert sum(row.get("run") == result["run"] for row in rows) == result["pairs"]
    assert "annotator" not in Path(server.client().predict(api_name="/export")).read_text()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"principle": ""}, "no persona and no principle"),
        ({"persona": "nobody"}, "'nobody' does not exist"),
        ({"annotator": "oracle"}, "'oracle'; it must be implicit, embedding or endpoint"),
        ({"annotator": "endpoint"}, "PLUMBLINE_JUDGE_URL"),
        ({"steps": 0}, "steps is 0"),
        ({"prompts": "Why?"}, "1 different prompts"),
        ({"prompts": "w" * 9000}, "9000 characters long"),
    ],
)
def test_bad_online_is_refused(server: Server, values: dict[str, Any], message: str):
    assert message in told(server.client(), "/online", **{**QUICK_ONLINE, **values})


def test_a_visitor_may_let_a_judge_choose_but_neither_publish_nor_spend_the_owners_money(guarded: Server):
    client = guarded.client()
    asked = {**QUICK_ONLINE, "persona": "curt", "publish": True}
    assert "send a rater's secret" in told(client, "/online", **asked)
    result = client.predict(**asked, rater="a visitor's", api_name="/online")
    assert [v["version"] for v in client.predict("a visitor's", api_name="/my_versions")] == [result["version"]]
    assert result["version"] not in {v["version"] for v in client.predict(api_name="/versions")}
    assert not result["published"] and result["samples"] == [] and guarded.services.store.published("curt") == ""
    assert "owner's token" in told(client, "/online", **QUICK_ONLINE, token="wrong")
    assert "owner's token" in told(client, "/online", **QUICK_ONLINE, annotator="endpoint")
    assert "PLUMBLINE_JUDGE_URL" in told(client, "/online", **QUICK_ONLINE, annotator="endpoint", token=TOKEN)


def test_the_page_shows_how_a_judge_gets_on_and_what_came_of_it(server: Server):
    versions = len(server.services.store.versions())
    messages = json.dumps(server.press("judge-start", ["", "", "embedding", "Be <b>brief</b>.", 1, False, ""]))
    assert "Step 1 of 1" in messages and "win rate" in messages and "<svg" in messages
    assert "Be <b>" not in messages and "process_completed" in messages
    assert len(server.services.store.versions()) == versions + 1
    refused = json.dumps(server.press("judge-start", ["", "", "embedding", "", 1, False, ""]))
    assert "No persona and no principle was given" in refused and "Traceback" not in refused


# --- the data


def test_export_in_every_format_and_as_a_zip_with_its_card(guarded: Server):
    client = guarded.client()
    rows = {}
    for format_, kind in (
        ("preference", "csv"),
        ("unpaired", "jsonl"),
        ("demonstrations", "parquet"),
        ("votes", "jsonl"),
    ):
        path = Path(client.predict(token=TOKEN, format=format_, file_type=kind, persona="pirate", api_name="/export"))
        assert path.name == f"{format_}.{kind}" and path.stat().st_size > 0
        if kind == "jsonl":
            rows[format_] = [json.loads(line) for line in path.read_text().splitlines()]
    assert [len(rows[name]) for name in ("unpaired", "votes")] == [20, 10]
    path = client.predict(token=TOKEN, with_principle=True, with_card=True, license="cc0-1.0", api_name="/export")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["README.md", "preference.jsonl"]
        assert "license: cc0-1.0" in archive.read("README.md").decode()
        row = json.loads(archive.read("preference.jsonl").splitlines()[0])
    assert [message["role"] for message in row["prompt"]] == ["system", "user"] and row["with_principle"] is True


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "xml"}, "format is 'xml'"),
        ({"file_type": "pickle"}, "file_type is 'pickle'"),
        ({"study": "Nobody's"}, "does not exist"),
        ({"license": "mine: all"}, "license is 'mine: all'"),
        ({"format": "votes", "with_ai_votes": True}, "they are preferences"),
    ],
)
def test_bad_export_is_a_sentence(server: Server, values: dict[str, Any], message: str):
    assert message in told(server.client(), "/export", **values)


def pairs_file(path: Path, count: int = 8) -> Path:
    path.write_text(
        "".join(json.dumps({"prompt": f"Why {n}?", "chosen": "Yes.", "rejected": "No."}) + "\n" for n in range(count))
    )
    return path


def test_pairs_are_imported_learnt_from_and_deleted(server: Server, tmp_path: Path):
    client, path = server.client(), pairs_file(tmp_path / "theirs.jsonl")
    report = client.predict(handle_file(path), "detective", api_name="/import_pairs")
    assert report == {"source": "theirs.jsonl", "pairs": 8, "bad": 0, "skipped": []}
    assert "theirs.jsonl' are here already" in told(client, "/import_pairs", file=handle_file(path))
    path.write_text(path.read_text() + "{\n")
    path = path.rename(tmp_path / "more.jsonl")
    assert "more.jsonl, line 9: not JSON" in told(client, "/import_pairs", file=handle_file(path))
    assert client.predict(handle_file(path), "", True, api_name="/import_pairs")["bad"] == 1
    assert "more to go" in told(client, "/refresh", persona="detective")
    outcome = client.predict(persona="detective", epochs=1, with_imported=True, api_name="/refresh")
    assert outcome["pairs_train"] + outcome["pairs_heldout"] == 8
    server.press("learn", ["detective", "", 1, 1e-3, 0.1, True])
    assert server.services.store.versions()[0].scope == "detective" and len(server.services.store.versions()) > 1
    assert "tick the box" in json.dumps(server.press("import-delete", ["more.jsonl", False, ""]))
    assert "Deleted: 8 pairs of more.jsonl" in json.dumps(server.press("import-delete", ["more.jsonl", True, ""]))
    assert [source.source for source in server.services.imports.sources()] == ["theirs.jsonl"]
    assert "No file was given" in told(client, "/import_pairs", file=None).replace("no file", "No file")


def test_the_data_is_the_owners(guarded: Server, tmp_path: Path):
    store = guarded.services.store
    path = pairs_file(tmp_path / "x.jsonl")
    filters = ["", "these words", "*", "*", "*", "*", "*", ""]
    for token in ("", "wrong", None):
        assert "owner's token" in told(guarded.client(), "/import_pairs", file=handle_file(path), token=token or "")
        for button, data in (
            ("data-show", [token, *filters]),
            ("data-older", [0, token, *filters]),
            ("data-open", ["pirate-1", token]),
            ("export", [token, False, "unknown", "", "votes", "jsonl", False, "", False]),
            ("import", [uploaded(guarded, path), "", False, token]),
            ("import-delete", ["x.jsonl", True, token]),
        ):
            shown = json.dumps(guarded.press(button, data))
            assert "This needs the owner" in shown and "Question" not in shown and "tea, matey" not in shown, button
    assert guarded.services.imports.sources(TOKEN) == [] and store.counts()["votes"] >= 10
    assert "Question 9 of pirate?" in json.dumps(guarded.press("data-show", [TOKEN, *filters]))


def test_page_shows_pages_and_opens_a_round(server: Server):
    for number in range(25):
        add_choice(server.services.store, number, "poet")
    filters = ["", "", "these words", "poet", "*", "*", "*", "*", ""]
    shown = json.dumps(server.press("data-show", filters))
    assert "25 rounds; page 1 of 2" in shown and "Question 24 of poet?" in shown and "Question 4 of poet?" not in shown
    filters[1] = "question 7"
    assert "1 round; page 1 of 1" in json.dumps(server.press("data-show", filters))
    filters[1:3] = ["what was question seven of the poet", "this meaning (of prompts)"]
    assert "Question 7 of poet?" in json.dumps(server.press("data-show", filters))
    filters[1] = "***"
    filters[2] = "these words"
    assert "at least one word" in json.dumps(server.press("data-show", filters))
    shown = json.dumps(server.press("data-open", ["poet-7", ""]))
    assert "What made it" in shown and "Question 7 of poet?" in shown and "Aligned better" in shown
    assert "does not exist" in json.dumps(server.press("data-open", ["nowhere", ""]))
