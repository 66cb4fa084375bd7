"""Pictures of the page in every state, at three widths, light and dark: `python -m tests.screenshots OUT`.

It starts a server of its own on an empty data folder and acts as a visitor: nothing that is seen is staged. Where something is on its way,
the server's process is held still while the pictures of that one moment are taken. A state that is not reached is an error, and so is a
page that is wider than its window. It knows the page by the ids that the product gives it, and nothing of what stands in the README.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Error, sync_playwright

from tests.browser.conftest import CHROMIUM_ARGS, PATIENCE_MS, Server
from tests.browser.pages import Plumb, held, held_while_writing

WIDTHS = (1440, 1024, 390)
HEIGHT = 1200
THEMES = ("light", "dark")
SCALE, QUALITY, GAP = 0.6, 82, 24
MOST_BYTES = 2_500_000
PROMPTS = (
    "How do I pack a suitcase?",
    "Why is the sky blue?",
    "How do I save money?",
    "How do I make good coffee?",
    "How do I learn to swim?",
    "Why do leaves fall in autumn?",
    "How do I sleep better?",
    "How do I clean a window?",
    "How do I keep a cat happy?",
    "What should I have for breakfast?",
)
ATTEMPTS = 5
FEWEST_DOTS = 8  # steps of learning that a curve shows
WRITING = "document.querySelectorAll('#panes .pl-caret').length === 3"
UNDER_WAY = f"{WRITING} && [...document.querySelectorAll('#panes .pl-text')].every(e => e.textContent.length > 30)"


class NotReachedError(Exception):
    """The page is not in the state that was to be seen."""


@dataclass(frozen=True)
class State:
    """What the page is in.

    name: of the file.
    shows: selector of what has to be in the window.
    holds: what is true of the page then, as JavaScript.
    """

    name: str
    shows: str
    holds: str


EMPTY = State("empty", "#status", "document.querySelectorAll('#panes [data-told] .pl-t').length > 10 && document.querySelector('#vote-first').disabled")  # fmt: skip
ERROR = State("error", "#status", "document.querySelector('#status .pl-error') !== null")
STREAMING = State("streaming", "#panes", f"{WRITING} && document.querySelector('#vote-first').disabled")
DONE = State("done", "#panes", "document.querySelectorAll('#panes section').length === 3 && !document.querySelector('#vote-first').disabled && document.querySelector('#panes .pl-caret') === null")  # fmt: skip
BLIND = State("blind", "#panes", "document.querySelectorAll('#panes section').length === 2 && !document.querySelector('#vote-first').disabled && document.querySelector('#panes code') === null")  # fmt: skip
LEARNING = State("learning", "#learn-result", "document.querySelector('#learn-result [role=progressbar]') !== null && document.querySelectorAll('#learn-result .pl-curve').length === 3")  # fmt: skip
LEARNT = State("learnt", "#learn-result", "document.querySelector('#learn-result .pl-samples') !== null && !document.querySelector('#learn').disabled && document.querySelector('#versions').textContent.includes('v1')")  # fmt: skip


def pictures(page: Plumb, state: State) -> list[list[Image.Image]]:
    """The page in a state: a row for each of THEMES, in it a picture for each of WIDTHS.

    Raises:
        NotReachedError: the state does not hold, before or after; or the page is wider than the window.
    """
    _check(page, state)
    rows = [[_picture(page, state, theme, width) for width in WIDTHS] for theme in THEMES]
    _check(page, state)
    page.page.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
    _choose_theme(page, THEMES[0])
    return rows


def _check(page: Plumb, state: State) -> None:
    if not page.page.evaluate(state.holds):
        raise NotReachedError(f"{state.name}: on the page this does not hold: {state.holds}")


def _choose_theme(page: Plumb, theme: str) -> None:
    page.page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")


def _picture(page: Plumb, state: State, theme: str, width: int) -> Image.Image:
    page.page.set_viewport_size({"width": width, "height": HEIGHT})
    _choose_theme(page, theme)
    page.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.page.evaluate("window.scrollTo(0, 0)")
    page.page.locator(state.shows).first.evaluate("e => e.scrollIntoView({block: 'nearest'})")
    wide = page.page.evaluate("document.scrollingElement.scrollWidth")
    if wide > width:
        raise NotReachedError(f"{state.name}: the page is {wide} px wide in a window of {width}")
    return _screen(page)


def _screen(page: Plumb) -> Image.Image:
    return Image.open(BytesIO(page.page.screenshot(animations="disabled"))).convert("RGB")


def montage(rows: list[list[Image.Image]]) -> Image.Image:
    """All pictures of a state on one sheet, smaller."""
    width = sum(one.width for one in rows[0]) + GAP * (len(rows[0]) + 1)
    height = sum(row[0].height for row in rows) + GAP * (len(rows) + 1)
    sheet = Image.new("RGB", (width, height), "#8a8780")
    y = GAP
    for row in rows:
        x = GAP
        for one in row:
            sheet.paste(one, (x, y))
            x += one.width + GAP
        y += row[0].height + GAP
    return sheet.resize((round(width * SCALE), round(height * SCALE)), Image.Resampling.LANCZOS)


def visit(server: Server, browser: Browser, out: Path) -> None:
    """Walks through every state and writes a sheet of each into a folder, and the first screen with a word asked about as `page.webp`."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": HEIGHT}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = Plumb(context.new_page(), server.url)
    page.settle()
    _keep(page, EMPTY, out)
    page.write("prompt", "  ")
    page.refuse("compare")
    _keep(page, ERROR, out)

    _stream(page, server, out)
    page.compare(PROMPTS[0])  # undisturbed: the seconds that the page tells are true
    page.page.evaluate("window.scrollTo(0, 0)")
    page.page.locator("#panes .pl-linear_aligned [data-told] .pl-t[data-s='4']").first.hover()
    page.page.locator("#pl-token").wait_for()
    _write(_screen(page), out / "page.webp")
    page.page.mouse.move(5, 5)
    page.page.keyboard.press("Escape")
    _keep(page, DONE, out)
    page.vote("second")

    page.set_blind(True)
    page.compare(PROMPTS[-1])
    _keep(page, BLIND, out)
    page.vote("tie")
    page.set_blind(False)
    for prompt in PROMPTS:
        page.compare(prompt)
        page.vote("second")
    learn(page, server, out)
    if page.failures:
        raise NotReachedError(f"scripts of the page failed: {page.failures}")
    context.close()


def _stream(page: Plumb, server: Server, out: Path) -> None:
    """Asks until an answer was caught while it was being written; returns once one can be voted on."""
    for prompt in PROMPTS[:ATTEMPTS]:
        page.write("prompt", prompt)
        page.start_comparing()
        with held_while_writing(page, server, f"({UNDER_WAY}) && ({STREAMING.holds})") as caught:
            if caught:
                _keep(page, STREAMING, out)
        page.wait_until_votable()
        if caught:
            return
    raise NotReachedError(f"streaming: {ATTEMPTS} answers were written before a picture could be taken")


def learn(page: Plumb, server: Server, out: Path) -> None:
    """Learns from the choices that there are, which have to be enough."""
    page.tab(1)
    page.settle()
    page.page.locator("#learn").click()
    dots = "document.querySelector('#learn-result path')?.getAttribute('d').split('h0').length"
    page.page.wait_for_function(f"{dots} > {FEWEST_DOTS}")
    with held(server):
        _keep(page, LEARNING, out)
    page.page.wait_for_function("!document.querySelector('#learn').disabled", timeout=3 * PATIENCE_MS)
    page.settle()
    _keep(page, LEARNT, out)


def _keep(page: Plumb, state: State, out: Path) -> None:
    _write(montage(pictures(page, state)), out / f"{state.name}.webp")


def _write(picture: Image.Image, path: Path) -> None:
    picture.save(path, "WEBP", quality=QUALITY, method=6)
    print(f"{path} {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB", flush=True)


def main(out: Path) -> None:
    """Writes every picture; raises SystemExit where one is missing or all together are too large."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS)
        server = Server(Path(folder) / "data", Path(folder) / "log").start()
        try:
            visit(server, browser, out)
        except (NotReachedError, Error) as error:
            raise SystemExit(f"not every state was reached: {error}\n{server.printed[-2000:]}") from error
        finally:
            server.kill()
            browser.close()
    size = sum(path.stat().st_size for path in out.glob("*.webp"))
    if size > MOST_BYTES:
        raise SystemExit(f"the pictures take {size} bytes; {MOST_BYTES} are the most that belong into a repository")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.screenshots OUT")
    main(Path(sys.argv[1]))
