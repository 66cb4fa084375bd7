"""Attacks on files, names, votes and the page's calls: what is sent stays data, and what is refused leaves nothing behind.

Others of the kind stand beside what they attack: zips and adapters in test_adapter_files, Parquet in test_import, formulas in
test_export_files, the search's syntax in test_search, scripts in the browser in tests/browser/test_attack.
"""

import json
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from gradio_client.exceptions import AppError
from jinja2 import TemplateError

from app.errors import InputError, LimitError, NotFoundError, PlumblineError
from app.label import Label, rater_of
from app.limits import Visit, visiting
from app.model import LanguageModel
from app.refresh.pair_files import LARGEST_FILE, MOST_ROWS, read_rows
from app.study_prompts import MOST_LINES, read_study_prompts
from storage.store import Store
from tests.models import save_tiny_model
from tests.rounds import a_round, add_choice
from tests.studies import add_study
from tests.test_api import HANG, Server, serving

SQL = [
    "'; DROP TABLE votes; --",
    "' OR '1'='1",
    '" OR ""="',
    "x' UNION SELECT id FROM raters --",
    "%",
    "_",
    "\\",
    "x\n;",
]
EVIL = "http://evil.example"
PATHS = ["../../../../etc/passwd", "/etc/passwd", "..\\..\\x", "v1/../../../etc", "file:///etc/passwd", "~/x", "."]


# --- a model's folder


@pytest.mark.parametrize("kind", ["llama", "a-type-that-nobody-knows"])
def test_code_in_a_models_folder_is_never_run(tmp_path: Path, kind: str):
    folder, ran = save_tiny_model("llama", tmp_path / "model"), tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(ran)!r}).write_text('x')\nclass Config: pass\nclass Model: pass\nclass Words: pass\n"
    (folder / "modeling_evil.py").write_text(code)
    automatic = {"AutoConfig": "modeling_evil.Config", "AutoModelForCausalLM": "modeling_evil.Model", "AutoTokenizer": ["modeling_evil.Words", None]}  # fmt: skip
    for name in ("config.json", "tokenizer_config.json"):
        told = json.loads((folder / name).read_text())
        told |= {"auto_map": automatic} | ({"model_type": kind} if name == "config.json" else {})
        (folder / name).write_text(json.dumps(told))
    with suppress(PlumblineError):  # the known type loads, by the code that transformers has for it
        LanguageModel.load(str(folder))
    assert not ran.exists()


def test_a_models_chat_template_cannot_reach_python(tmp_path: Path):
    folder = save_tiny_model("llama", tmp_path / "model")
    (folder / "chat_template.jinja").write_text(
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0]['content'] }}"
    )
    try:
        text = LanguageModel.load(str(folder)).chat_text([{"role": "user", "content": "Why?"}])
    except (PlumblineError, TemplateError):
        return
    assert "<class" not in text


# --- files that are larger than they look


@pytest.mark.parametrize(("read", "most"), [(read_rows, 2 * MOST_ROWS), (read_study_prompts, MOST_LINES)])
def test_a_file_of_nothing_but_line_ends_takes_little_memory(tmp_path: Path, read, most: int):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n" * 20_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="which is the most"):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20_000_000 and peak < 100_000_000


@pytest.mark.parametrize("read", [read_rows, read_study_prompts])
def test_a_file_of_one_gigabyte_is_refused_unread(tmp_path: Path, read):
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.truncate(10**9)  # takes no room on the disk
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="1000000000 bytes"):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < LARGEST_FILE / 10


@pytest.mark.parametrize("line", ["[" * 100_000, '{"prompt": ' * 50_000, '{"prompt": ' + "9" * 10_000 + "}"])
def test_a_line_that_is_nested_too_deep_or_a_number_too_long_is_a_sentence(tmp_path: Path, line: str):
    path = tmp_path / "x.jsonl"
    path.write_text(line + "\n")
    for read in (read_rows, read_study_prompts):
        with pytest.raises(InputError, match="line 1"):
            read(path)


# --- the database


@pytest.mark.parametrize("text", SQL)
def test_no_name_is_a_statement(tmp_path: Path, text: str):
    store = Store(tmp_path)
    for number in range(3):
        add_choice(store, number)
    with pytest.raises(NotFoundError):
        store.round(text)
    assert store.votes(text) == [] and store.count_decisive(text) == 0 and store.published(text) == ""
    store.add_round(a_round(text, text, text))
    Label(store).vote(text, "first", text, text, chips=[text.strip() or "x"])
    assert store.round(text).messages[0]["content"] == text
    assert [vote.reason for vote, _ in store.votes(text)] == [text.strip()]
    assert len(store.votes()) == 4 and store.count_decisive() == 4


# --- votes


def test_a_digest_is_no_secret():
    assert rater_of(rater_of("ann's")) != rater_of("ann's")


def test_many_votes_at_once_by_one_rater_are_one(tmp_path: Path):
    store = Store(tmp_path)
    store.add_round(a_round("r", "Why?"))
    label, together, told = Label(store), threading.Barrier(12), []

    def vote(number: int) -> None:
        together.wait()
        told.append(label.vote("r", ("first", "second", "tie")[number % 3], "ann")[0])

    threads = [threading.Thread(target=vote, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((stored, _),) = store.votes()
    assert len(told) == 12 and {(vote.choice, vote.created) for vote in told} == {(stored.choice, stored.created)}


# --- over HTTP


@pytest.fixture(scope="module")
def server(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tiny_folders["llama"], tmp_path_factory.mktemp("attacked")) as running:
        running.services.store.add_round(a_round("told", "Why?", rater=rater_of("ann's")))
        running.services.label.vote("told", "first", rater_of("ann's"))
        yield running


@pytest.mark.parametrize(
    ("name", "values"),
    [("delete_my_labels", ["ann's"]), ("vote", ["told", "second", "bob's", "", [], "", "", "", -1.0]), ("publish", ["none", "", ""])],
)  # fmt: skip
def test_another_sites_page_changes_nothing(server: Server, name: str, values: list):
    for headers in ({"origin": EVIL}, {"origin": EVIL, "sec-fetch-site": "cross-site"}, {"origin": "null"}):
        # As a form of another site can send it, without asking first; and as a script would.
        for content in ("text/plain", "application/json"):
            answer = httpx.post(
                f"{server.url}gradio_api/call/{name}",
                content=json.dumps({"data": values}),
                headers={**headers, "content-type": content},
                timeout=HANG,
            )
            assert answer.status_code == 403
    assert [(vote.rater, vote.choice) for vote, _ in server.services.store.votes()] == [(rater_of("ann's"), "first")]


def test_no_path_is_taken_for_a_name(server: Server, tmp_path: Path):
    client, before = server.client(), sorted(server.services.settings.data.rglob("*"))
    for path in PATHS:
        for name, values in (
            ("/download_version", {"version": path}),
            ("/delete_version", {"version": path}),
            ("/publish", {"version": path}),
            ("/compare", {"prompt": "Why?", "persona": "pirate", "adapter": path}),
            ("/compare", {"prompt": "Why?", "persona": path}),
            ("/export", {"format": path}),
            ("/export", {"file_type": path}),
        ):
            with pytest.raises(AppError) as caught:
                client.predict(**values, api_name=name)
            assert "root:" not in str(caught.value) and len(str(caught.value).split()) > 3
    assert sorted(server.services.settings.data.rglob("*")) == before


def test_an_exports_name_holds_no_text_of_anybodys(server: Server):
    hostile, store = '"><img src=x onerror=alert(1)>/../../x.csv', server.services.store
    study = add_study(store, "hostile", prompts=1)
    add_choice(store, 1, hostile)
    with store.database.write() as db:
        db["studies"].update(study.id, {"name": hostile})
    client = server.client()
    for asked in ({"persona": hostile}, {"study": hostile}):
        for file_type in ("jsonl", "csv", "parquet"):
            file = client.predict(**asked, file_type=file_type, api_name="/export")
            assert Path(file).name in ("preferences.jsonl", f"preference.{file_type}")


def test_the_servers_own_files_are_not_served(server: Server):
    data = server.services.settings.data.resolve()
    for file in (data / "plumbline.db", Path("requirements.txt").resolve(), Path("/etc/passwd")):
        assert file.exists()
        for path in (str(file), f"..{file}", str(file).replace("/", "%2f")):
            assert httpx.get(f"{server.url}gradio_api/file={path}", timeout=HANG).status_code in (400, 403, 404)


def test_the_page_asks_for_nothing_from_outside(server: Server):
    class Links(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "link", "img", "iframe", "base", "form"):
                self.found += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    answer, links = httpx.get(server.url, timeout=HANG), Links()
    links.feed(answer.text)
    assert links.found and not [link for link in links.found if "//" in link and not link.startswith(server.url)]
    assert "connect-src 'self'" in answer.headers["content-security-policy"]


# --- limits, as a use case counts them


def test_comparisons_tokens_and_rounds_of_learning_are_limited(server: Server):
    client, limits = server.client(), server.services.limits
    small = {"prompt": "Why?", "persona": "pirate", "max_new_tokens": 4, "api_name": "/compare"}
    before = limits.settings
    try:
        limits.override("", comparisons="1/hour", address=1)
        client.predict(**small)
        with pytest.raises(AppError, match=r"1 comparisons per hour are the most for one address.* please wait"):
            client.predict(**small, rater="another")
        limits.override("", comparisons="off", tokens="10/minute")
        with pytest.raises(AppError, match="asks for 12, and 10 tokens of answers per minute"):
            client.predict(**small)
        client.predict(**small, arms="baseline")
        for number in range(10):
            add_choice(server.services.store, number, "curt")
        limits.override("", refreshes="1/hour")
        client.predict(persona="curt", epochs=1, api_name="/refresh")
        with pytest.raises(AppError, match="1 rounds of learning per hour"):
            client.predict(persona="curt", epochs=1, api_name="/refresh")
    finally:
        limits.settings = before
    used = {state.kind: (state.used, state.refused) for state in limits.describe()}
    assert used["refreshes"] == (1, 1) and used["comparisons"][1] == 1 and used["tokens"][1] == 1


def test_a_saved_persona_counts(server: Server):
    limits = server.services.limits
    before = limits.settings
    try:
        limits.override("", personas="1/hour")
        with visiting(Visit(limits, "192.0.2.9")):
            server.services.catalogue.save("Mine", "be brief", "principle", 1.0, "ann")
            with pytest.raises(LimitError, match="1 saved personas per hour"):
                server.services.catalogue.save("Mine too", "be brief", "principle", 1.0, "ann")
    finally:
        limits.settings = before
    assert [persona.name for persona in server.services.store.personas()] == ["Mine"]
