"""The labelling room in a real browser: by hand and by key, blind, after reloads and kills, on a phone. Most studies are answered by hand."""

import json
from itertools import pairwise

import pytest

from app.ui.label_render import CHIPS
from storage.raters import RaterTable
from storage.store import Store
from storage.studies import StudyTable
from tests.browser.conftest import PATIENCE_MS, Server
from tests.browser.rooms import ARMS, Room, add_study, arm_chosen, assert_no_arm, labelled

PROMPTS = [
    "How do I make good coffee?",
    "Why is the sky blue?",
    "How do I save money?",
    "How do I sleep better?",
    "How do I learn to swim?",
    "Why do leaves fall in autumn?",
]
HOSTILE = "<img src=x onerror=window.hacked=1> ${7*7} {{7*7}} <script>window.hacked=2</script>"
# Three presses within one moment, and a key and a click as soon as the next task is there: nobody can have read that.
PRESS_AT_ONCE = """() => {
  const shown = () => document.querySelector('#label-task [data-round]')?.dataset.round;
  const press = key => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  const before = shown();
  const observer = new MutationObserver(() => {
    if (shown() === before) return;
    observer.disconnect();
    press('2');
    document.querySelector('#label-second').click();
    window.pressed = true;
  });
  observer.observe(document.body, {childList: true, subtree: true});
  press('1'), press('1'), press('1');
}"""


@pytest.fixture
def enter(shared: Server, open_page):
    """Opens a page of a new rater's in the room of a study."""

    def enter_(study, **options) -> Room:
        room = Room(open_page(options.pop("url", shared.url), **options))
        room.enter(study)
        return room

    return enter_


def _choices(server: Server, study) -> list[str]:
    return [vote.choice for vote, _ in labelled(server.data, study)]


def _no_traceback(room: Room, server: Server) -> None:
    assert "Traceback" not in server.printed, server.printed[-4000:]
    assert room.plumb.failures == []


def test_one_hand_on_the_keyboard(shared: Server, enter) -> None:
    study = add_study(shared.data, "keys", PROMPTS)
    room = enter(study)
    seen = []
    for key in "120":
        seen.append(room.prompt())
        room.press(key)
    assert _choices(shared, study) == ["first", "second", "tie"]
    assert "3 of 6" in room.page.locator("#label-progress").inner_text()
    assert "s a label" in room.page.locator("#label-progress").inner_text()
    seen.append(room.prompt())
    room.press("s")
    assert "Skipped" in room.status
    assert len({*seen, room.prompt()}) == 5
    room.press("u")
    assert "taken back" in room.status
    assert room.prompt() == seen[2]
    assert _choices(shared, study) == ["first", "second"]
    room.press("9")
    assert _choices(shared, study) == ["first", "second", "both_bad"]
    room.press("1")
    room.press("1")
    assert "That was all" in room.page.locator("#label-task").inner_text()
    assert len(_choices(shared, study)) == 5
    # Also after the last one a choice can be taken back.
    room.press("u")
    assert len(_choices(shared, study)) == 4
    _no_traceback(room, shared)


def test_keys_are_off_while_typing_with_modifiers_and_where_switched_off(shared: Server, enter) -> None:
    study = add_study(shared.data, "typing", PROMPTS[:3])
    room = enter(study)
    page, shown = room.page, room.round

    page.locator("#label-reason textarea").focus()
    page.keyboard.type("1 2 0 9 s u ?")
    assert page.locator("#label-reason textarea").input_value() == "1 2 0 9 s u ?"
    page.locator("#label-reason textarea").blur()
    for combination in ("Control+1", "Alt+2", "Meta+9", "Control+u"):
        page.keyboard.press(combination)

    page.locator("#label-hotkeys input").uncheck()
    page.keyboard.press("1")
    page.reload()
    page.locator("#label-task [data-round]").wait_for()  # the tab that was open is opened again
    room.wait_until_fresh()
    assert not page.locator("#label-hotkeys input").is_checked()
    page.keyboard.press("1")

    page.locator("#label-hotkeys input").check()
    page.get_by_role("tab").first.click()
    page.locator("#compare").wait_for()
    page.keyboard.press("1")
    page.wait_for_timeout(1000)
    assert _choices(shared, study) == []

    room.open()
    page.locator("#label-task [data-round]").wait_for()
    room.wait_until_fresh()
    assert room.round == shown
    # A checkbox that has the focus is not a text that is being written.
    page.locator("#label-chips input").first.check()
    help_ = page.locator("#label-help details")
    assert help_.get_attribute("open") is None
    page.keyboard.press("?")
    assert help_.get_attribute("open") is not None
    assert page.locator("#label-help kbd").all_inner_texts()[1:] == ["1", "2", "0", "9", "s", "u", "?"]
    room.press("1")
    assert _choices(shared, study) == ["first"]
    _no_traceback(room, shared)


def test_pressed_twice_is_chosen_once(shared: Server, enter) -> None:
    study = add_study(shared.data, "twice", PROMPTS[:4])
    room = enter(study)
    before = room.round
    room.page.evaluate(PRESS_AT_ONCE)
    room.page.wait_for_function("window.pressed")
    assert room.round not in ("", before)
    room.wait_until_fresh()
    room.press("1")  # had the presses before counted, this would be the third or the fourth choice
    assert _choices(shared, study) == ["first", "first"]
    _no_traceback(room, shared)


def test_a_second_tab_and_a_reload_show_the_same_task(shared: Server, enter) -> None:
    study = add_study(shared.data, "tabs", PROMPTS[:4], overlap=2)
    room = enter(study)
    task = (room.round, room.prompt(), room.texts())
    other = Room(type(room.plumb)(room.page.context.new_page(), shared.url))
    other.enter(study)
    assert (other.round, other.prompt(), other.texts()) == task
    room.page.reload()
    room.page.locator("#label-task [data-round]").wait_for()
    assert (room.round, room.prompt(), room.texts()) == task

    other.press("1")
    room.wait_until_fresh()
    room.press("2")  # on a task that the other tab has done: the first choice stands
    assert "stands" in room.status
    assert _choices(shared, study) == ["first"]
    assert room.round == other.round
    _no_traceback(room, shared)
    _no_traceback(other, shared)


def test_what_is_said_besides_the_choice_is_stored_with_it(shared: Server, enter) -> None:
    study = add_study(shared.data, "reasons", PROMPTS[:3])
    room = enter(study)
    page, texts = room.page, room.texts()
    page.locator("#label-chips input").nth(0).check()
    page.locator("#label-chips input").nth(2).check()
    room.plumb.write("label-reason", "It says what to do.")
    room.unfold("label-edit")
    page.locator("#label-side input").nth(2).check()
    page.wait_for_function("text => document.querySelector('#label-edited textarea').value === text", arg=texts[1])
    room.plumb.write("label-edited", f"{texts[1]} And stir.")
    page.locator("#label-first").click()
    room.wait_for_status("Noted: the first is better")
    room.wait_until_fresh()
    vote, _ = labelled(shared.data, study)[0]
    assert (vote.choice, vote.chips, vote.reason) == ("first", (CHIPS[0], CHIPS[2]), "It says what to do.")
    assert (vote.edited_side, vote.edited) == ("second", f"{texts[1]} And stir.")
    assert vote.session
    assert vote.dwell_seconds > 0
    rater = RaterTable(Store(shared.data).database).get(vote.rater)
    assert vote.consent_version == rater.consent_version != ""
    # The next task begins with nothing filled in.
    assert page.locator("#label-reason textarea").input_value() == ""
    assert page.locator("#label-chips input:checked").count() == 0
    room.press("2")
    second, _ = labelled(shared.data, study)[1]
    assert (second.chips, second.reason, second.edited_side, second.edited) == ((), "", "", "")
    assert second.session == vote.session
    _no_traceback(room, shared)


def test_nothing_tells_the_arms_apart_before_they_are_revealed(shared: Server, open_page) -> None:
    """Both answers of an item have the same text here: whatever still differs between the sides differs by arm."""
    texts = {ARMS[0]: "The same words. ({})", ARMS[1]: "The same words. ({})"}
    study = add_study(shared.data, "blind", PROMPTS, repeat=0.5, texts=texts)
    room = Room(open_page(shared.url))
    room.plumb.forget_received()
    room.enter(study)
    sides = "all => all.map(e => e.outerHTML)"
    while "That was all" not in room.page.locator("#label-task").inner_text():
        received, markup = room.plumb.received(), room.plumb.markup()
        assert room.round in received, "what was examined does not hold the task"
        first, second = room.page.locator("#label-task .pl-pane").evaluate_all(sides)
        assert first.replace("First", "?") == second.replace("Second", "?")
        before_form = markup[: markup.index('id="study-form"')]  # the form names the arms that can be chosen
        assert_no_arm(before_form.split('id="label-tab"', 1)[1], "the room")
        for body in received.split("\n"):
            if room.round in body:
                assert_no_arm(body, "what the server sent with the task")
        task = json.dumps([room.page.locator("#label-task").inner_html(), room.round])
        assert "repeat" not in task
        room.press("1")
    votes = labelled(shared.data, study)
    assert len(votes) > len(PROMPTS), "nothing came back"
    for round_ in (round_ for _, round_ in votes):
        assert {round_.first_arm, round_.second_arm} == set(ARMS)
    assert_no_arm(room.page.locator("#label-room").inner_html(), "the room at the end")

    room.page.locator("#label-reveal").click()
    room.page.locator("#label-revealed .pl-revealed").first.wait_for()
    cards = room.page.locator("#label-revealed .pl-revealed")
    assert cards.count() == len(votes)
    for number, (vote, round_) in enumerate(votes):
        names = cards.nth(number).locator(".pl-pane h3 code").all_inner_texts()
        assert names == [f"({round_.first_arm})", f"({round_.second_arm})"]
        picked = cards.nth(number).locator(".pl-picked h3").inner_text()
        assert arm_chosen(vote.choice, round_) in picked
    room.page.keyboard.press("u")
    room.wait_for_status("told which answer was which")
    assert len(labelled(shared.data, study)) == len(votes)
    _no_traceback(room, shared)


def test_my_labels_are_shown_and_deleted_and_a_code_brings_me_along(shared: Server, enter, open_page) -> None:
    study = add_study(shared.data, "mine", PROMPTS[:4])
    room = enter(study)
    room.plumb.write("label-reason", HOSTILE)
    room.page.locator("#label-reason textarea").blur()
    room.press("1")
    room.press("2")
    room.unfold("label-you")
    room.page.wait_for_function(
        "document.querySelector('#label-code textarea, #label-code input')?.value.length === 32"
    )
    code = room.plumb.value("label-code")

    # In another browser, with the code, the same person.
    other = Room(open_page(shared.url))
    other.unfold("label-you")
    other.plumb.write("label-other-code", "too short")
    other.page.locator("#label-use-code").click()
    other.page.locator("#label-you-status .pl-error").wait_for()
    other.plumb.write("label-other-code", code)
    other.page.locator("#label-use-code").click()
    other.page.wait_for_function(
        "document.querySelector('#label-you-status').textContent.includes('that code belongs to')"
    )
    other.page.locator("#label-agree").wait_for(state="hidden")  # this person has agreed already
    other.enter(study)
    assert other.round == room.round
    other.page.locator("#label-show-mine").click()
    rows = other.page.locator("#label-mine tr")
    rows.nth(2).wait_for()
    assert rows.count() == 3
    assert HOSTILE in other.page.locator("#label-mine").inner_text()
    assert_no_arm(other.page.locator("#label-mine").inner_html(), "my labels")
    assert other.page.evaluate("window.hacked") is None

    # Deleting asks for the word.
    rater = labelled(shared.data, study)[0][0].rater
    other.page.locator("#label-delete").click()
    other.page.locator("#label-you-status .pl-error").wait_for()
    assert len(labelled(shared.data, study)) == 2
    other.plumb.write("label-confirm", "DELETE")
    other.page.locator("#label-delete").click()
    other.page.locator("#label-agree").wait_for()  # the consent is deleted, too
    assert "2 labels" in other.page.locator("#label-you-status").inner_text()
    assert labelled(shared.data, study) == []
    assert RaterTable(Store(shared.data).database).get(rater).consent_version == ""
    assert other.page.locator("#label-mine tr").count() == 0
    # The tab that stayed open is told, and nothing is stored for somebody who has not agreed.
    room.page.locator("#label-first").click()
    room.page.locator("#label-status .pl-error").wait_for()
    assert labelled(shared.data, study) == []
    _no_traceback(other, shared)


def test_hostile_texts_are_shown_as_text(shared: Server, enter) -> None:
    study = add_study(shared.data, f"hostile {HOSTILE}", [HOSTILE, PROMPTS[0]], texts=dict.fromkeys(ARMS, "{}"))
    room = enter(study)
    shown = {room.prompt()}
    room.press("1")
    shown.add(room.prompt())
    room.press("1")
    assert HOSTILE in shown
    room.page.locator("#label-reveal").click()
    room.page.locator("#label-revealed .pl-revealed").first.wait_for()
    assert HOSTILE in room.page.locator("#label-revealed").inner_text()
    assert HOSTILE in room.page.locator("#label-overview").inner_text()
    assert room.page.evaluate("window.hacked") is None
    assert room.page.locator("img[src='x']").count() == 0
    _no_traceback(room, shared)


def test_a_killed_server_and_the_same_task_after_it(server: Server, open_page) -> None:
    study = add_study(server.data, "killed", PROMPTS[:3])
    room = Room(open_page(server.url))
    room.enter(study)
    room.press("1")
    task = (room.round, room.prompt(), room.texts())
    session = labelled(server.data, study)[0][0].session
    room.page.evaluate("window.before_the_kill = true")
    server.kill()
    room.page.keyboard.press("2")
    room.page.get_by_text("Connection to the server was lost").first.wait_for()
    assert room.round == task[0]
    server.start(server.port)
    # The page loads itself again, in the room.
    room.page.wait_for_function("!window.before_the_kill && document.querySelector('#label-task [data-round]')")
    room.wait_until_fresh()
    assert (room.round, room.prompt(), room.texts()) == task
    room.press("2")
    room.press("0")
    votes = labelled(server.data, study)
    assert [vote.choice for vote, _ in votes] == ["first", "second", "tie"]
    assert {vote.session for vote, _ in votes} == {session}
    assert len({vote.rater for vote, _ in votes}) == 1


def test_a_quiet_reminder_after_many_labels(shared: Server, enter) -> None:
    study = add_study(shared.data, "long", PROMPTS[:3])
    room = enter(study)
    room.press("1")
    assert not room.page.locator("#label-break").is_visible()
    with Store(shared.data).database.write() as db:
        db.execute(
            "update votes set created = strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-26 minutes') where round in (select round from assignments where item in (select id from study_items where study = ?))",
            [study.id],
        )
    room.press("2")
    room.page.locator("#label-break").wait_for()
    assert "26 min" in room.page.locator("#label-break").inner_text()
    room.page.locator("#label-dismiss").click()
    room.page.locator("#label-break").wait_for(state="hidden")
    room.press("1")
    assert len(_choices(shared, study)) == 3
    _no_traceback(room, shared)


def test_a_link_opens_the_room_of_its_study(shared: Server, open_page) -> None:
    study = add_study(shared.data, "linked", PROMPTS[:2])
    add_study(shared.data, "newer", PROMPTS[:2])
    page = open_page(shared.url)
    page.page.goto(f"{shared.url}?study={study.id}")
    page.page.locator("#label-agree").wait_for()
    assert page.value("label-study") == "linked"


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_phone(shared: Server, enter, scheme: str) -> None:
    long = {ARMS[0]: "word " * 120 + "{}", ARMS[1]: "a" * 400 + " {}"}
    study = add_study(shared.data, f"phone {scheme}", PROMPTS[:2], texts=long)
    room = enter(study, url=f"{shared.url}?__theme={scheme}", viewport={"width": 390, "height": 844}, has_touch=True)
    page = room.page
    fits = "document.scrollingElement.scrollWidth <= window.innerWidth"
    assert page.evaluate(fits)
    assert page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")
    boxes = [page.locator("#label-task .pl-pane").nth(number).bounding_box() for number in range(2)]
    for upper, lower in pairwise(boxes):
        assert lower["y"] >= upper["y"] + upper["height"]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["width"] > 300 for box in boxes)
    # The buttons stay in reach while one reads: inside the window although the answers are longer than it.
    page.evaluate("document.querySelector('#label-task .pl-pane').scrollIntoView()")
    for name in ("first", "second", "tie", "both_bad", "skip", "undo"):
        box = page.locator(f"#label-{name}").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844, name
        assert box["height"] >= 44
    page.locator("#label-first").tap()
    room.wait_for_status("Noted")
    assert _choices(shared, study) == ["first"]
    assert page.evaluate(fits)
    _no_traceback(room, shared)


def test_reading_order_and_one_line_for_screen_readers(shared: Server, enter) -> None:
    room = enter(add_study(shared.data, "order", PROMPTS[:2]))
    page = room.page
    page.locator("#label-first").focus()
    order = []
    for _ in range(6):
        order.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert order == ["label-first", "label-second", "label-tie", "label-both_bad", "label-skip", "label-undo"]
    assert page.locator("#label-room [role=status], #label-room [aria-live]:not([aria-live=off])").count() == 0
    assert page.locator("#label-status [role=status]").count() == 1


def test_the_owner_makes_a_study_and_the_model_answers_it(shared: Server, open_page) -> None:
    room = None
    page = open_page(shared.url)
    page.page.locator("#label-tab-button").click()
    page.page.locator("#study-form button.label-wrap").first.click()
    page.page.locator("#study-create").wait_for()
    page.page.locator("#study-create").click()
    page.page.locator("#study-status .pl-error").wait_for()
    page.write("study-name", "Made here")
    page.write("study-prompts", "How do I boil an egg?\n\nWhy is grass green?\n")
    page.page.locator("#study-personas input").click()
    page.page.get_by_role("option", name="The Pirate", exact=True).click()
    page.page.keyboard.press("Escape")
    page.page.locator("#study-create").click()
    page.page.wait_for_function("document.querySelector('#study-status').textContent.includes('is made')")
    study = StudyTable(Store(shared.data).database).named("Made here")
    assert study.arms == ARMS
    room = Room(page)
    page.page.locator("#label-task [data-round]").or_(page.page.locator("#label-agree")).first.wait_for()
    room.choose(study)
    if page.page.locator("#label-agree").is_visible():
        page.page.locator("#label-agree").click()
    page.page.locator("#label-task [data-round]").wait_for(timeout=3 * PATIENCE_MS)  # comes by itself
    assert room.prompt() in ("How do I boil an egg?", "Why is grass green?")
    room.wait_until_fresh()
    room.page.keyboard.press("1")
    room.wait_for_status("Noted")
    assert _choices(shared, study) == ["first"]
    page.choose("study-open", "Made here")
    page.page.locator("#study-close").click()
    page.page.wait_for_function("document.querySelector('#study-status').textContent.includes('closed')")
    assert StudyTable(Store(shared.data).database).get(study.id).state == "closed"
    _no_traceback(room, shared)
