"""The model picker in a real browser, on a phone: what a model needs, another one answers, one that is not there changes nothing, and the way back."""

from pathlib import Path

from tests.browser.conftest import Server


def test_another_model_and_the_way_back(server: Server, open_page, tiny_folders: dict[str, Path]):
    other = str(tiny_folders["llama"])
    plumb = open_page(server.url, viewport={"width": 390, "height": 800})
    page = plumb.page
    picker, line = page.locator("#model-picker"), page.locator("#model-line")
    picker.get_by_text("Model: starter").click()

    def name(model: str) -> None:
        box = page.locator("#model-name input")
        box.fill(model)
        box.press("Enter")

    name(other)
    page.locator("#model-look").click()
    line.get_by_text("It fits.").wait_for()
    assert other in line.inner_text()
    picker.get_by_text("Model: starter").wait_for()

    page.locator("#model-use").click()
    picker.get_by_text(f"Model: {other}").wait_for()
    assert "answers from now on" in line.inner_text()
    plumb.write("prompt", "How do I make tea?")
    page.locator("#compare").click()
    page.locator("#vote-first:enabled").wait_for()
    from storage.store import Store

    with Store(server.data).database.open() as db:
        assert [row["model"] for row in db["rounds"].rows] == [other]

    name("/no/such/<b>folder</b>")
    page.locator("#model-use").click()
    line.get_by_text("goes on answering").wait_for()
    assert line.locator("b").count() == 0

    page.locator("#model-back").click()
    picker.get_by_text("Model: starter").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the phone"
    assert plumb.failures == []
