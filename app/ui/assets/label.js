// The labelling room in the browser: hotkeys, a guard against presses meant for the task before, and which tab was open.
// It clicks buttons and reads what is shown; it knows no study and sends nothing.
(() => {
  const BUTTONS = {1: "first", 2: "second", 0: "tie", 9: "both_bad", u: "undo", s: "skip"};
  const GUARDED = ["first", "second", "tie", "both_bad", "skip"].map((name) => "label-" + name);
  const TOO_SOON = 400; // milliseconds in which nobody has read two answers: the press was meant for the task before
  const OPEN = "plumbline-label-open";
  let shown = "", since = 0;

  const find = (id) => document.getElementById(id);
  const round = () => document.querySelector("#label-task [data-round]")?.dataset.round || "";
  const noticeRound = () => {
    if (round() !== shown) [shown, since] = [round(), performance.now()];
  };
  new MutationObserver(noticeRound).observe(document, {childList: true, subtree: true, attributes: true, attributeFilter: ["data-round"]});

  // Where a checkbox or a button has the focus nobody is typing.
  const typing = (element) =>
    element.isContentEditable || element.matches("textarea, select, [role=combobox]") ||
    (element.matches("input") && !["checkbox", "radio", "button"].includes(element.type));

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (typing(event.target) || localStorage.getItem("plumbline-hotkeys") === "off") return;
    if (!find("label-task")?.offsetParent) return;
    const help = event.key === "?" && document.querySelector("#label-help details");
    const button = BUTTONS[event.key] && find("label-" + BUTTONS[event.key]);
    if (help) help.open = !help.open;
    else if (button && !button.disabled && button.offsetParent) button.click();
    else return;
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (button?.role === "tab") sessionStorage.setItem(OPEN, button.id === "label-tab-button" ? "yes" : "");
    noticeRound();
    if (button && GUARDED.includes(button.id) && performance.now() - since < TOO_SOON) {
      event.stopImmediatePropagation();
      event.preventDefault();
    }
  }, true);

  // Gradio reloads the page when a lost server is back: whoever was labelling goes on labelling. A rater's link opens the room, too.
  if (sessionStorage.getItem(OPEN) ?? new URLSearchParams(location.search).has("study")) {
    const wait = setInterval(() => {
      const tab = find("label-tab-button");
      if (!tab || !localStorage.getItem("plumbline-rater")) return;
      clearInterval(wait);
      tab.click();
    }, 50);
  }
})();
