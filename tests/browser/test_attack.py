"""Hostile texts in every place that shows one, in a real browser: no script runs, no element is made, nothing is asked from outside."""

from dataclasses import replace
from urllib.parse import quote

from storage.raters import RaterTable
from storage.records import Rater, SavedPersona, Vote
from storage.saved_personas import PersonaTable
from storage.store import Store
from tests.browser.conftest import Server
from tests.browser.rooms import Room, add_study
from tests.rounds import a_round, answers

ATTACK = (
    "\"'><img src=x onerror=window.pwned=1><svg onload=window.pwned=2></svg><script>window.pwned=3</script>"
    "<a href='javascript:window.pwned=4'>a</a><iframe srcdoc='<script>parent.pwned=5</script>'></iframe>"
    "</textarea></style><style>*{display:none}</style><b onmouseover=window.pwned=6>b</b>"
    " ![i](http://outside.invalid/i.png) [l](javascript:window.pwned=7) {{7*7}} ${7*7} =HYPERLINK(1)"
)
MADE = (
    "img[src='x'], svg[onload], iframe[srcdoc], a[href^='javascript:'], [onerror], [onmouseover], img[src*='outside']"
)


def test_no_text_of_a_person_or_a_model_becomes_part_of_the_page(server: Server, open_page) -> None:
    store = Store(server.data)
    round_ = a_round(
        "attack",
        ATTACK,
        persona="attack",
        blind=False,
        principles=[{"text": ATTACK, "weight": 1.0}],
        first_arm="baseline",
        second_arm="linear_aligned",
        answers=answers(baseline=ATTACK, principle_prompted=ATTACK, linear_aligned=ATTACK),
        model=ATTACK,
    )
    personas = PersonaTable(store.database)
    personas.save(SavedPersona("attack", "ann", ATTACK, ATTACK, "principle", 2.0))
    personas.mark("attack", wanted=True, approved=True)
    store.add_round(round_)
    store.vote(Vote("attack", "ann", "second", ATTACK, chips=(ATTACK[:60],), edited_side="first", edited=ATTACK))
    RaterTable(store.database).save(Rater("ann", ATTACK, "browser", ATTACK))
    study = add_study(server.data, ATTACK[:80], [ATTACK], texts={"baseline": "{}", "linear_aligned": "{}"})
    store.add_round(replace(round_, id=ATTACK[:30]))

    opened, dialogs, complaints = [], [], []

    def visit(address: str = "") -> object:
        plumb = open_page(f"{server.url}{address}")
        plumb.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        plumb.page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        opened.append(plumb)
        return plumb

    def check(where: str) -> None:
        for plumb in opened:
            assert plumb.page.evaluate("window.pwned") is None, where
            assert plumb.page.locator(MADE).count() == 0, where

    # A shared round, and links that hold the attack themselves.
    shared = visit("?r=attack")
    shared.open()  # again, so that what the browser complains of while it loads is heard
    shared.page.wait_for_function("document.querySelector('#status').textContent.includes('read only')")
    assert ATTACK in shared.texts()[0]
    check("a shared round")
    for key in ("r", "persona", "study"):
        visit(f"?{key}={quote(ATTACK)}").settle()
        check(f"a link with {key}")

    # A persona of somebody else's; a principle and a prompt of one's own; the answers, the vote, what comes of both.
    plumb = visit("?persona=attack")
    plumb.page.wait_for_function("document.querySelector('#persona input').value.includes('onerror')")
    plumb.shorten()
    plumb.compare(ATTACK)
    check("a comparison")
    plumb.vote("second")
    check("a vote")
    plumb.page.locator("#my-rounds button.label-wrap").click()
    plumb.page.locator("#history li").first.wait_for()
    check("my rounds")
    for tab in ("Learn", "Insights"):
        plumb.page.get_by_role("tab", name=tab).click()
        plumb.settle()
        check(f"the tab {tab}")
    plumb.page.get_by_role("tab", name="Data").click()
    plumb.page.locator("#data-rounds").get_by_text("page 1 of").wait_for()
    check("the list of rounds")
    plumb.page.locator("#data-open input").click()
    plumb.page.get_by_role("option").last.click()
    plumb.page.locator("#data-round").get_by_text("What made it").wait_for()
    assert "onerror" in plumb.page.locator("#data-round").inner_text()
    check("a round as the owner sees it")

    # The labelling room: the study's name, the task, the rater's name, one's own labels.
    room = Room(plumb)
    room.enter(study, ATTACK[:60])
    check("a task")
    plumb.page.locator("#label-first").click()
    plumb.page.locator("#label-status").get_by_text("Noted").or_(plumb.page.locator("#label-reveal")).first.wait_for()
    plumb.page.locator("#label-you button.label-wrap").first.click()
    plumb.page.locator("#label-show-mine").click()
    plumb.page.locator("#label-mine").get_by_text("onerror").first.wait_for()
    check("my labels")

    assert dialogs == []
    assert complaints == [], "the page itself asks for what its own policy forbids"
    for each in opened:
        assert [url for url in each.requests if not url.startswith((server.url, "data:", "blob:"))] == []
        assert each.failures == []
    assert "Traceback" not in server.printed
