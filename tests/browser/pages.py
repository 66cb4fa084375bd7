"""The page as a person uses it: fields are found by the ids that the product gives them, never by their words."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Response

    from tests.browser.conftest import Server

# Playwright gives no body for a stream that the page ends itself, as Gradio's queue does; so every body is also copied as it arrives.
COPY_BODIES = """
window.received = [], window.joined = 0;
const plainFetch = window.fetch;
window.fetch = async (...args) => {
  if (String(args[0].url || args[0]).includes("queue/join")) window.joined++;
  const response = await plainFetch(...args);
  if (response.body) {
    const [first, second] = response.body.tee(), decoder = new TextDecoder();
    (async () => {
      const reader = second.getReader();
      try {
        for (let part = await reader.read(); !part.done; part = await reader.read())
          window.received.push(decoder.decode(part.value, {stream: true}));
      } catch (ended) {}
    })();
    const copy = new Response(first, {status: response.status, statusText: response.statusText, headers: response.headers});
    Object.defineProperty(copy, "url", {value: response.url});
    return copy;
  }
  return response;
};
const PlainSource = window.EventSource;
window.EventSource = class extends PlainSource {
  constructor(...args) { super(...args); this.addEventListener("message", e => window.received.push(e.data)); }
};
"""
SETTLED = "window.received.join('').split('\"process_completed\"').length > window.joined"
VISIBLE_MARKUP = """() => {
  const copy = document.documentElement.cloneNode(true);
  copy.querySelectorAll("script, style, link").forEach(e => e.remove());
  return copy.outerHTML;
}"""


# A server that is to be seen at work writes in short turns and stands still between them, so that the page, which is slower, shows what
# was written.
WRITES_MS, SHOWS_MS = 60, 300


@contextmanager
def held(server: Server) -> Iterator[None]:
    """The server's process stands still meanwhile, and with it what the page shows."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextmanager
def held_while_writing(page: Plumb, server: Server, shows: str) -> Iterator[bool]:
    """The server stands still in the middle of an answer that was asked for, once `shows` holds of the page (as JavaScript).

    Gives False, and the server runs, where the answer was through before.
    """
    through = False
    while not through:
        page.page.wait_for_timeout(WRITES_MS)
        with held(server):
            page.page.wait_for_timeout(SHOWS_MS)
            if page.page.evaluate(shows):
                yield True
                return
            through = page.page.evaluate(SETTLED)
    yield False


class Plumb:
    """One open page.

    Args:
        page: of Playwright.
        url: to open.
    """

    def __init__(self, page: Page, url: str):
        self.page, self.url = page, url
        self.requests: list[str] = []
        self.failures: list[str] = []
        self._responses: list[Response] = []
        page.add_init_script(COPY_BODIES)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        page.on("response", lambda response: self._responses.append(response))
        self.open()

    def open(self) -> None:
        """Opens the page and waits until it knows its rater: from then on everything works."""
        self.page.goto(self.url)
        self.page.locator("#compare").wait_for()
        self.page.wait_for_function("localStorage.getItem('plumbline-rater')")

    # --- fields

    @property
    def status(self) -> str:
        """The line that says what is going on."""
        return self.page.locator("#status [role=status]").inner_text()

    @property
    def panes(self) -> Locator:
        """The answers."""
        return self.page.locator("#panes section")

    def texts(self) -> list[str]:
        """What the panes say, once they are finished."""
        return self.panes.locator(".pl-text").evaluate_all("all => all.map(e => e.textContent)")

    def write(self, field: str, text: str) -> None:
        """Fills a text field and leaves it."""
        box = self.page.locator(f"#{field} textarea, #{field} input").first
        box.fill(text)
        box.blur()

    def value(self, field: str) -> str:
        """What a text field or a menu shows."""
        return self.page.locator(f"#{field} textarea, #{field} input").first.input_value()

    def choose(self, menu: str, name: str) -> None:
        """Chooses an entry of a menu by the beginning of its name."""
        box = self.page.locator(f"#{menu} input")
        box.click()
        options = self.page.get_by_role("option")
        options.first.wait_for()
        names = options.evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
        matching = [each for each in names if each.startswith(name)]
        assert matching, f"the menu {menu} offers {names}, nothing that begins with {name!r}"
        options.nth(names.index(matching[0])).click()
        assert box.input_value() == matching[0]

    def choose_persona(self, name: str) -> None:
        """Chooses a persona and waits until its principle and its examples have arrived."""
        before = self.value("principle")
        self.choose("persona", name)
        self.page.wait_for_function("old => document.querySelector('#principle textarea').value !== old", arg=before)
        self.settle()  # what the choice brings along must not overwrite what is written next

    def set_blind(self, blind: bool) -> None:
        """Blind or open."""
        self.page.locator("#blind input").set_checked(blind)

    def show_settings(self) -> None:
        """Opens the settings that are folded away."""
        if not self.page.locator("#version").is_visible():
            self.page.locator("#settings button.label-wrap").click()
            self.page.locator("#version").wait_for()

    def set_number(self, highest: str, value: str) -> None:
        """Sets the slider that goes up to `highest`; the settings that are folded away have no ids of their own."""
        box = self.page.locator(f"input[type=number][max='{highest}']").last
        box.wait_for()
        # Settings that were just unfolded are drawn twice: what is typed between is lost. The slider shows what was taken over.
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        box.fill(value)
        box.blur()
        slider = f"document.querySelector('input[type=range][max=\"{highest}\"]')"
        self.page.wait_for_function(f"{slider}.value === '{value}'")

    def shorten(self) -> None:
        """Short answers: the tests are about the page, and the model is what takes the time."""
        self.show_settings()
        self.set_number("400", "48")

    def tab(self, number: int) -> None:
        """Opens a tab: 0 compares, 1 learns."""
        self.page.get_by_role("tab").nth(number).click()

    # --- what people do

    def start_comparing(self) -> None:
        """Presses Compare and waits until the server was asked."""
        before = self.page.evaluate("window.joined")
        self.page.locator("#compare").click()
        self.page.wait_for_function("before => window.joined > before", arg=before)

    def wait_until_ended(self) -> None:
        """Waits until the comparison has ended, well or not."""
        self.page.wait_for_function(
            "!document.querySelector('#compare').disabled && document.querySelector('#stop').disabled"
        )

    def wait_until_votable(self) -> None:
        """Waits until a comparison that was begun can be voted on; the buttons may still be those of the one before."""
        self.settle()
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_function("!document.querySelector('#vote-first').disabled")

    def compare(self, prompt: str) -> None:
        """Asks and waits until a vote is possible."""
        self.write("prompt", prompt)
        self.start_comparing()
        self.wait_until_votable()

    def vote(self, choice: str) -> str:
        """Votes and returns the line that reveals what was chosen."""
        self.page.locator(f"#vote-{choice}").click()
        self.page.wait_for_function("/You preferred|Noted/.test(document.querySelector('#status').innerText)")
        return self.status

    def keep(self, name: str) -> str:
        """Saves what the form says as a persona and returns what came of it."""
        if not self.page.locator("#persona-name").is_visible():
            self.page.locator("#keep button.label-wrap").click()
            self.page.locator("#persona-name").wait_for()
        self.write("persona-name", name)
        self.settle()
        self.page.locator("#save-persona").click()
        self.page.wait_for_function(
            "name => document.querySelector('#persona-result').innerText.includes(name)", arg=name
        )
        return self.page.locator("#persona-result [role=status]").inner_text()

    def refuse(self, button: str) -> str:
        """Presses a button that must not work and returns the sentence that says why."""
        self.page.locator(f"#{button}").click()
        self.page.locator("#status .pl-error").wait_for()
        return self.status

    # --- what the browser was told

    def settle(self) -> None:
        """Waits until every event that was sent to the server has been answered."""
        self.page.wait_for_function(SETTLED)

    def forget_received(self) -> None:
        """From now on `received` counts anew."""
        self.settle()
        self._responses.clear()
        self.page.evaluate("() => { window.received.length = 0; window.joined = 0; }")

    def received(self) -> str:
        """Every body that came since `forget_received`, the stream of the queue included.

        The page's copies hold the streams: Playwright would wait for the end of one, and the heartbeat's never comes.
        """
        bodies = [self.page.evaluate("window.received.join('')")]
        for response in list(self._responses):
            if not any(stream in response.url for stream in ("queue/data", "/heartbeat/")):
                bodies.append(response.text())
        return "\n".join(bodies)

    def markup(self) -> str:
        """The page's HTML as it is now, without scripts and style sheets, which are the same for every round."""
        return self.page.evaluate(VISIBLE_MARKUP)
