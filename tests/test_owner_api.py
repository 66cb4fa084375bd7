"""The owner's actions over HTTP: without the token every event and endpoint of a real page, public or private, changes nothing."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.label import rater_of
from app.ui import owner_render
from storage.records import Version
from tests.rounds import a_round, add_choice
from tests.test_api import HANG, TOKEN, Server, serving, told

ANN, EVE = "ann-keeps-this", "eve-keeps-this"
# What a visitor's own calls may write without being the owner.
VISITORS_TABLES = {"tombstones"}


def prepare(running: Server) -> Server:
    """Choices, two versions of the page of which v1 is in use, one of Ann's own, an open study."""
    services = running.services
    for number in range(10):
        add_choice(services.store, number, rater=rater_of(ANN))
    for id_, rater in (("v1", ""), ("v2", ""), ("v3", rater_of(ANN))):
        services.versions.adapters.write(id_, lambda folder: (folder / "weights").write_text("none"))
        services.store.add_version(
            Version(id_, "", services.model.name, services.model.revision, {}, 8, 2, {}, 1.0, True, "", rater=rater),
            publish=False,
        )
    services.store.publish("", "v1")
    arms = ("baseline", "linear_aligned")
    made = services.studies.create("Tone", ["Why?"], ["pirate"], arms, adapter="none", token=TOKEN)
    list(services.studies.answer(made.id))
    return running


@pytest.fixture(scope="module")
def guarded(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tiny_folders["llama"], tmp_path_factory.mktemp("owned"), TOKEN) as running:
        yield prepare(running)


def kept(server: Server) -> dict[str, Any]:
    """Every row of the database that is not a visitor's to write, and every file of the adapter folder."""
    with server.services.store.database.open() as db:
        tables = [
            t for t in db.table_names() if t not in VISITORS_TABLES and not t.startswith(("sqlite_", "texts_fts"))
        ]
        rows = {table: [tuple(row.values()) for row in db[table].rows] for table in tables}
    root = server.services.versions.adapters.root
    files = {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    return {**rows, "files": files, "limits": server.services.limits.settings}


def study(server: Server) -> str:
    return server.services.studies.all()[0].id


def filled(component: dict[str, Any], study_id: str) -> Any:
    """What a hostile client would send for a component of the page."""
    props, kind = component["props"], component["type"]
    name = props.get("elem_id") or props.get("label") or ""
    named = {
        "use-version": "v2",
        "owner-version": "v2",
        "manage-version": "v2",
        "private-versions": "v3",
        "owner-study": study_id,
        "study-open": study_id,
        "study-name": "Attack",
        "study-prompts": "Why not?",
        "study-personas": ["pirate"],
        "owner-rater": rater_of(ANN)[:8],
        "delete-sure": True,
        "owner-limit": "votes",
        "owner-limit-value": "1/day",
        "owner-persona": "nobodys",
    }
    if name in named:
        return named[name]
    if name in ("scope", "owner-scope"):
        return ""
    return "" if kind == "textbox" else props.get("value")


class Caller:
    """Fires events as the page's own script would, in one session, as one visitor."""

    def __init__(self, server: Server):
        self._client, self._session = httpx.Client(base_url=server.url, timeout=HANG), uuid.uuid4().hex

    def call(self, dependency: dict[str, Any], data: list[Any]) -> str:
        """All that came back."""
        body = {"data": data, "fn_index": dependency["id"], "session_hash": self._session, "event_data": None}
        joined = self._client.post("gradio_api/queue/join", json={**body, "trigger_id": None})
        if joined.status_code != 200:
            return joined.text
        lines = []
        with self._client.stream("GET", "gradio_api/queue/data", params={"session_hash": self._session}) as stream:
            for line in stream.iter_lines():
                lines.append(line)
                if '"process_completed"' in line or '"close_stream"' in line:
                    break
        return "\n".join(lines)


def test_no_private_event_of_the_page_does_anything_of_the_owners_without_the_token(guarded: Server):
    before, config, visitor = kept(guarded), guarded.config(), Caller(guarded)
    components = {component["id"]: component for component in config["components"]}
    ids = {component["props"].get("elem_id"): id_ for id_, component in components.items()}
    called, refused, open_study = set(), set(), study(guarded)
    for dependency in config["dependencies"]:
        if not dependency["backend_fn"] or dependency["api_visibility"] == "public":
            continue
        answer = visitor.call(dependency, [filled(components[id_], open_study) for id_ in dependency["inputs"]])
        assert "Traceback" not in answer and TOKEN not in answer
        targets = {target for target, _ in dependency["targets"]}
        called |= targets
        refused |= targets if "needs the owner" in answer else set()
    assert kept(guarded) == before
    actions = ("learn", "publish", "roll-back", "ban", "lift", "study-close", "log-again")
    actions += ("approve", "hide", "persona-delete", "limit-change")
    assert {ids[f"owner-{action}"] for action in actions} <= refused
    assert {ids[name] for name in ("private-learn", "private-delete", "owner-enter", "owner-leave")} <= called
    assert len(called) > 60


def test_no_named_endpoint_does_anything_of_the_owners_without_the_token(guarded: Server):
    before = kept(guarded)
    values = {
        "version": "v2",
        "study": study(guarded),
        "rater": rater_of(ANN)[:8],
        "name": "Attack",
        "prompts": ["Why not?"],
        "personas": ["pirate"],
        "arms": ["baseline", "linear_aligned"],
    }
    endpoints = httpx.get(f"{guarded.url}gradio_api/info", timeout=HANG).json()["named_endpoints"]
    assert {"/ban", "/lift_ban", "/publish", "/refresh", "/study_close", "/delete_version"} <= set(endpoints)
    refused = set()
    for name, endpoint in endpoints.items():
        data = []
        for parameter in endpoint["parameters"]:
            known = parameter["parameter_name"]
            usual = parameter["parameter_default"] if parameter["parameter_has_default"] else ""
            # /online takes a string of prompts where /study_create takes a list.
            data.append("wrong" if known == "token" else usual if name == "/online" else values.get(known, usual))
        answer = guarded.post(name[1:], json.dumps({"data": data}))
        assert "Traceback" not in answer and TOKEN not in answer
        refused |= {name} if "needs the owner" in answer else set()
    assert kept(guarded) == before
    assert {"/ban", "/lift_ban", "/publish", "/refresh", "/study_close", "/study_create", "/export"} <= refused


def test_what_the_log_and_the_people_are_is_told_to_the_owner_only(guarded: Server):
    client = guarded.client()
    for name in ("/gauges", "/people", "/server_log"):
        for token in ("", "wrong"):
            assert "owner's token" in told(client, name, token=token)
    gauges = client.predict(TOKEN, api_name="/gauges")
    assert (gauges["running"], gauges["waiting"], gauges["cache_bytes"]) == (0, 0, 0)
    assert gauges["memory_bytes"] > 50e6 and gauges["disk_free"] > 0 and gauges["votes"] == 10
    assert gauges["database_bytes"] >= Path(guarded.services.store.path).stat().st_size and not gauges["loses_all"]
    (ann,) = client.predict(TOKEN, api_name="/people")
    assert (ann["rater"], ann["votes"], ann["banned"], ann["chance"]) == (rater_of(ANN), 10, False, None)


def test_the_owner_bans_and_lifts_over_http(guarded: Server):
    client, store = guarded.client(), guarded.services.store
    store.add_round(a_round("open", "And this?"))
    assert store.count_decisive() == 10
    assert client.predict(rater_of(ANN)[:8], "turned choices round", TOKEN, api_name="/ban") == {
        "banned": rater_of(ANN)
    }
    assert store.count_decisive() == 0
    refused = told(client, "/vote", round_id="open", choice="first", rater=ANN)
    assert "no longer takes choices from you: turned choices round" in refused
    assert client.predict(rater_of(ANN)[:8], TOKEN, api_name="/lift_ban") == {"lifted": rater_of(ANN)}
    assert store.count_decisive() == 10
    assert client.predict("open", "first", ANN, api_name="/vote")["choice"] == "first"
    assert "6 to 24" in told(client, "/ban", rater="<b>", token=TOKEN)


def test_with_two_secrets_nobody_sees_or_uses_what_is_anothers(guarded: Server):
    client = guarded.client()
    mine = client.predict(ANN, api_name="/my_versions")
    assert [version["version"] for version in mine] == ["v3"]
    asked = {"prompt": "Why?", "principle": "Be calm.", "max_new_tokens": 4}
    client.predict(**asked, adapter="none", rater=ANN, api_name="/compare")
    for secret in (EVE, ""):
        assert client.predict(secret, api_name="/my_versions") == []
        for wanted in ("v3", "v3*0.5", "v2*0.5+v3*0.5"):
            assert "'v3' does not exist" in told(client, "/compare", **asked, adapter=wanted, rater=secret)
        assert "'v3' does not exist" in told(client, "/delete_my_version", version="v3", rater=secret)
    assert "v3" not in json.dumps(client.predict(api_name="/versions"))
    assert '"v3"' not in json.dumps(guarded.config())
    for token in ("", "wrong"):
        assert "owner's token" in told(client, "/publish", version="v3", token=token)
        assert "owner's token" in told(client, "/download_version", version="v3", token=token)
    assert "clear choices" in told(client, "/my_refresh", rater=EVE)
    assert client.predict("v3", ANN, api_name="/delete_my_version") == {"deleted": "v3"}
    assert client.predict(ANN, api_name="/my_versions") == []


def test_signing_in_opens_the_console_for_this_session_only(guarded: Server):
    config = guarded.config()
    components = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
    enter = next(d for d in config["dependencies"] if [components["owner-enter"], "click"] in d["targets"])
    owner, visitor = Caller(guarded), Caller(guarded)
    assert "Answering now" not in visitor.call(enter, ["wrong"])
    answer = owner.call(enter, [TOKEN])
    assert "Answering now" in answer and TOKEN not in answer
    # The key that signing in leaves is the session's: another session has none.
    look = next(d for d in config["dependencies"] if [components["owner-log-again"], "click"] in d["targets"])
    assert "pl-log" in owner.call(look, [None])
    for key in (None, "anything", TOKEN):  # what a client sends in its place is not looked at
        assert "needs the owner" in visitor.call(look, [key])


# --- how it is drawn


def test_what_people_wrote_is_escaped_in_the_console():
    from app.bans import Person
    from storage.bans import Voter

    hostile = "<img src=x onerror=alert(1)>"
    shown = owner_render.people(
        [Person(Voter("ab" * 12, hostile, 3, "2026-01-01T00:00", True, hostile), 5, 0, 0.03, True)]
    )
    assert "<img" not in shown and "chooses against the others" in shown and "0 of 5" in shown and "0.030" in shown
    assert "<img" not in owner_render.log([hostile]) and "&lt;img" in owner_render.log([hostile])
    version = Version("v1", hostile, "m", "r", {}, 8, 2, {}, 1.0, False, "", rater="ab" * 12)
    assert "<img" not in owner_render.private_versions([version], {})


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 bytes"), (2048, "2.0 kB"), (150 * 2**20, "150 MB"), (3 * 2**30, "3.0 GB")]
)
def test_sizes_are_in_words(count: int, words: str):
    assert owner_render.size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(59.9, "0 min 59 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h"), (125, "2 min 5 s")]
)
def test_durations_are_in_two_units(seconds: float, words: str):
    assert owner_render.duration(seconds) == words
