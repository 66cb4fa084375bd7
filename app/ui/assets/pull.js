// Asking about a token of an aligned answer: by pointer, by tap or by keys. It reads what the page already holds and sends nothing.
// Texts of the model become text nodes, never markup.
(() => {
  document.documentElement.dataset.pull ||= "shift";
  const GRACE = 160; // milliseconds in which the pointer may travel from a token to its card
  const read = new WeakMap();
  let card = null, asked = null, leaving = 0;

  const facts = (box) => {
    const raw = box.dataset.told;
    if (read.get(box)?.raw !== raw) read.set(box, {raw, ...JSON.parse(raw)});
    return read.get(box);
  };
  const make = (name, text, ...classes) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    element.classList.add(...classes);
    return element;
  };
  // A space or a line break alone would show nothing.
  const seen = (text) => text.replaceAll("\n", "↵").replace(/^ +$/, "␣").trim() || "␣";
  const times = (shift) => {
    const factor = Math.exp(Math.abs(shift));
    const told = factor >= 10 ? Math.round(factor).toLocaleString("en") : factor.toFixed(1);
    return `${told} times ${shift < 0 ? "less likely" : "likelier"}`;
  };

  const column = (title, likely, written) => {
    const list = make("ol");
    for (const [text, probability] of likely) {
      const row = make("li", undefined, ...(text === written ? ["pl-written"] : []));
      const bar = make("i");
      bar.style.width = `${100 * probability}%`;
      row.append(bar, make("span", seen(text)), make("b", `${(100 * probability).toFixed(probability < 0.1 ? 1 : 0)} %`));
      list.append(row);
    }
    const whole = make("div");
    whole.append(make("h4", title), list);
    return whole;
  };

  const place = (token) => {
    if (innerWidth <= 640) { // on a phone at the lower edge, where no finger covers it
      Object.assign(card.style, {position: "fixed", left: "8px", top: "auto", bottom: "8px"});
      return;
    }
    Object.assign(card.style, {position: "absolute", bottom: "auto"});
    const [at] = token.getClientRects(), width = card.offsetWidth, height = card.offsetHeight;
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
    const below = at.bottom + 8 + height < innerHeight || at.top < height + 8;
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${(below ? at.bottom + 8 : at.top - height - 8) + scrollY}px`;
  };

  const show = (token) => {
    const box = token.closest("[data-told]");
    if (!box) return;
    clearTimeout(leaving);
    if (!card) {
      card = make("div", undefined, "pl-token");
      card.id = "pl-token";
      card.setAttribute("role", "tooltip");
      document.body.append(card);
    }
    const {titles, tokens} = facts(box), [written, shift, kl, likely] = tokens[token.dataset.i];
    const head = make("p");
    head.append(make("strong", `“${seen(written)}”`), ` is ${times(shift)} than without the principle (shift ${shift.toFixed(2)}, KL ${kl.toFixed(2)} nats)`);
    const columns = make("div", undefined, "pl-said");
    likely.forEach((said, i) => columns.append(column(titles[i], said, written)));
    card.replaceChildren(head, make("p", "What each would have said here:", "pl-quiet"), columns);
    card.hidden = false;
    asked?.removeAttribute("aria-describedby");
    asked = token;
    token.setAttribute("aria-describedby", "pl-token");
    place(token);
  };
  const hide = () => {
    clearTimeout(leaving);
    if (card) card.hidden = true;
    asked?.removeAttribute("aria-describedby");
    asked = null;
  };
  const tokenOf = (event) => event.target.closest?.("[data-told] .pl-t");

  document.addEventListener("pointerover", (event) => {
    const token = tokenOf(event);
    if (token && event.pointerType === "mouse") show(token);
    else if (event.target.closest?.(".pl-token")) clearTimeout(leaving);
  });
  document.addEventListener("pointerout", (event) => {
    if (event.pointerType !== "mouse" || !asked || document.activeElement === asked) return;
    clearTimeout(leaving);
    leaving = setTimeout(hide, GRACE);
  });
  document.addEventListener("click", (event) => {
    const token = tokenOf(event);
    if (token) token.focus();
    else if (!event.target.closest?.(".pl-token")) hide();
  });
  document.addEventListener("focusin", (event) => (tokenOf(event) ? show(event.target) : hide()));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && asked) return hide();
    const token = tokenOf(event);
    if (!token || event.ctrlKey || event.altKey || event.metaKey) return;
    const all = [...token.parentElement.querySelectorAll(".pl-t")], at = all.indexOf(token);
    const to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = all[Math.max(0, Math.min(to, all.length - 1))];
    token.tabIndex = -1; // one stop for Tab: where one was last
    next.tabIndex = 0;
    next.focus();
    show(next);
  });
  addEventListener("resize", hide);

  // Copies an answer, or the address that a button names relative to this page.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy || button.closest("section").querySelector(".pl-text").textContent;
    const copied = text.startsWith("?") ? new URL(text, location).href : text;
    // Browsers have a clipboard on https and on localhost only.
    if (!navigator.clipboard) return void window.prompt("Copy this:", copied);
    await navigator.clipboard.writeText(copied);
    const words = (button.dataset.words ??= button.textContent);
    button.textContent = "Copied";
    button.addEventListener("blur", () => (button.textContent = words), {once: true});
  });
})();
