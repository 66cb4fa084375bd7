"""The learning room as a person uses it: what choices teach, live curves, before and after, two versions blind, and the way back."""

import re

from app.decoding.arms import ARM_NAMES
from storage.store import Store
from tests.browser.conftest import PATIENCE_MS, Server
from tests.rounds import add_choice, answers

PROMPTS = [f"How do I {do}?" for do in ("make tea", "save money", "learn to swim", "clean a window", "sleep better",
                                        "pack a suitcase", "bake bread", "keep a cat happy", "plant a tree")]  # fmt: skip
WATCH_CURVES = """() => {
  window.dots = [];
  new MutationObserver(() => {
    const path = document.querySelector('#learn-result path');
    if (path) window.dots.push(path.getAttribute('d').split('h0').length - 1);
  }).observe(document.querySelector('#learn-result'), {childList: true, subtree: true, characterData: true});
}"""


def test_from_choices_to_a_version_seen_compared_and_taken_back(server: Server, open_page) -> None:
    page = open_page(server.url)
    page.tab(1)
    page.page.get_by_text("No choices yet: here is how").wait_for()
    page.page.locator("#learn").click()
    page.page.wait_for_function("document.querySelector('#learn-result').textContent.includes('6 more to go')")

    store = Store(server.data)
    for number, prompt in enumerate(PROMPTS):
        pirate = f"Arr! {prompt[9:-1].capitalize()} slowly, matey!"
        plain = "You do one thing after the other, and take the time that it takes, without any hurry."
        messages = [{"role": "user", "content": prompt}]
        add_choice(store, number, messages=messages, answers=answers(linear_aligned=pirate, baseline=plain))
    page.tab(0)
    page.tab(1)
    page.page.wait_for_function("/nats a token on average, n = 9/.test(document.querySelector('#taught').textContent)")
    told = page.page.locator("#taught").inner_text()
    assert "chosen answers are shorter in 100% of 9 pairs (70% to 100%)" in told
    assert "matey +9 −0" in told
    assert "9 clear choices on 9 prompts. Enough to learn from" in page.page.locator("#pair-count").inner_text()

    # Curves grow while it learns, and every step is in them once.
    page.page.evaluate(WATCH_CURVES)
    page.page.locator("#learn").click()
    page.page.locator("#learn-result [role=progressbar]").wait_for()
    page.page.wait_for_function("!document.querySelector('#learn').disabled", timeout=3 * PATIENCE_MS)
    version = store.version("v1")
    dots = page.page.evaluate("window.dots")
    assert dots[0] < dots[-1] == len(version.metrics["losses"]) and dots == sorted(dots)
    assert page.page.locator("#learn-result .pl-curve").count() == 3

    # Before and after, side by side, on prompts that were kept aside.
    shown = page.page.locator("#learn-result .pl-samples")
    texts = shown.locator(".pl-text").evaluate_all("all => all.map(e => e.textContent)")
    assert texts == [s[side] for s in version.metrics["samples"] for side in ("before", "after")]
    left, right = (shown.locator(".pl-pane").nth(i).bounding_box() for i in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    assert shown.locator("h5").first.inner_text() == "Before: the original model"

    # Two versions, blind: nothing tells them apart before the vote.
    page.page.locator("#versus-section button.label-wrap").first.click()
    page.choose("versus-other", "v1")
    page.forget_received()
    page.page.locator("#versus-start").click()
    page.page.wait_for_function("!document.querySelector('#versus-first').disabled")
    panes, received = page.page.locator("#versus-panes").inner_html(), page.received()
    assert "process_completed" in received
    for secret in (*ARM_NAMES, "v1", "the original model"):
        assert secret not in panes
        assert secret not in received, f"{secret} was sent before the vote"
    page.page.locator("#versus-first").click()
    page.page.wait_for_function("/You preferred/.test(document.querySelector('#versus-status').textContent)")
    vote, round_ = store.votes()[-1]
    assert (vote.choice, round_.blind, {round_.first_arm, round_.second_arm}) == (
        "first", True, {"baseline", "baseline @ v1"})  # fmt: skip
    assert round_.first_arm in page.page.locator("#versus-status").inner_text()

    # A mixture that every arm can be sampled from.
    page.page.locator("#blend-section button.label-wrap").first.click()
    page.choose("blend-version", "v1")
    page.page.wait_for_function("document.querySelector('#expression textarea, #expression input').value === 'v1'")
    box = page.page.locator("#blend-alpha input[type=number]")
    box.fill("0.5")
    box.blur()
    page.page.wait_for_function("document.querySelector('#expression textarea, #expression input').value === 'v1*1.5'")
    page.page.locator("#blend-to-compare").click()
    page.page.wait_for_function("document.querySelector('#blend-status').textContent.includes('v1*1.5')")
    page.tab(0)
    page.show_settings()
    assert page.value("version") == "v1*1.5"
    page.tab(1)

    # In use, and back again.
    if not version.published:
        page.choose("use-version", "v1")
        page.page.locator("#use").click()
    page.page.wait_for_function(
        "document.querySelector('#versions').textContent.includes('v1 (in use for all personas)')"
    )
    page.page.locator("#roll-back").click()
    page.page.wait_for_function("document.querySelector('#use-result').textContent.includes('the original model')")
    page.page.wait_for_function("!/in use for/.test(document.querySelector('#versions').textContent)")
    assert store.published("") == ""
    assert not re.search("Traceback", server.printed), server.printed[-3000:]
    assert page.failures == []
