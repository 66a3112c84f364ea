// While the form is edited the server answers what it would find: verdict, memory, key numbers, messages beside fields.
// The address follows, so that a reload or a bookmark keeps what was typed. Nothing is logged until Calculate is pressed.
"use strict";

(() => {
  const WAIT_MS = 250;
  const form = document.querySelector("form.previewed");
  const panel = form?.querySelector("[data-preview]");
  if (!panel) return;
  const body = panel.querySelector("[data-preview-body]");
  const status = panel.querySelector("[data-preview-status]");
  const word = form.querySelector("[data-preview-word]"); // beside the button where the screen is narrow
  let timer = 0;
  let asked = null;
  let answered = null; // the inputs that the preview is of, or will be in a moment

  function query() {
    const sent = new URLSearchParams();
    for (const control of form.elements) {
      if (!control.name || control.disabled) continue;
      if (control.type === "checkbox") sent.set(control.name, String(control.checked));
      else if (control.type === "hidden" || control.value !== control.dataset.default) sent.set(control.name, control.value);
    }
    for (const [name, value] of [...sent]) if (value === "") sent.delete(name);
    return sent;
  }

  function tell(mistakes) {
    for (const old of form.querySelectorAll(".error[data-live]")) old.remove();
    const wrong = new Map(mistakes.map((one) => [one.dataset.field, one.textContent]));
    for (const control of form.elements) {
      if (!control.name || !("default" in control.dataset)) continue;
      const shown = document.getElementById(control.name) ?? control; // a picker stands before its list
      const field = control.closest(".field");
      const message = wrong.get(control.name);
      const id = `error-${control.name}`;
      if (!message) {
        field.querySelector(".error")?.remove();
        for (const one of new Set([control, shown])) one.removeAttribute("aria-invalid");
        continue;
      }
      let place = field.querySelector(".error");
      if (!place) {
        place = Object.assign(document.createElement("p"), { className: "error", id });
        place.dataset.live = "";
        field.querySelector("small").before(place);
      }
      place.textContent = message;
      shown.setAttribute("aria-invalid", "true");
      const described = new Set((shown.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean)).add(id);
      shown.setAttribute("aria-describedby", [...described].join(" "));
    }
  }

  async function ask() {
    const inputs = String(query());
    if (inputs === answered) return; // a field that is left says again what it said while it was typed in
    answered = inputs;
    asked?.abort();
    asked = new AbortController();
    panel.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(`${panel.dataset.preview}?${inputs}`, { signal: asked.signal });
      if (!response.ok) throw new Error(response.statusText);
      body.innerHTML = await response.text(); // a fragment of this server, escaped by it
      const answer = body.firstElementChild;
      panel.hidden = word.hidden = false;
      const verdict = body.querySelector(".verdict");
      word.textContent = verdict.querySelector(".badge").textContent;
      word.className = verdict.className.replace("verdict", "preview-word");
      if (status.textContent !== answer.dataset.status) status.textContent = answer.dataset.status;
      tell([...body.querySelectorAll("[data-field]")]);
      if (answer.dataset.share) history.replaceState(history.state, "", answer.dataset.share);
      panel.removeAttribute("aria-busy");
    } catch (error) {
      if (error.name === "AbortError") return;
      panel.hidden = word.hidden = true; // the form works without
      answered = null;
      panel.removeAttribute("aria-busy");
    }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT_MS);
  }

  form.addEventListener("input", soon);
  form.addEventListener("change", soon);
  ask();
})();
