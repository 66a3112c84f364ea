// A long list of choices that can be searched: an ARIA combobox over the page's own <select>, which keeps the value and
// is what is sent. Arrows move, Enter chooses, Escape gives the old choice back, typing filters by all words. What is typed
// and is no choice stays, and holds the form back: nobody gets the answer to another question.
"use strict";

(() => {
  const SHOWN = 250;

  function enhance(select) {
    const id = select.id;
    const label = select.labels[0];
    const list = Object.assign(document.createElement("ul"), { id: `${id}-list`, className: "picker-list", hidden: true });
    const input = Object.assign(document.createElement("input"), {
      type: "text", className: "picker", autocomplete: "off", spellcheck: false, placeholder: "Search",
    });
    label.id = `${id}-label`;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-labelledby", label.id);
    for (const [name, value] of Object.entries({
      role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id,
      "aria-describedby": select.getAttribute("aria-describedby"),
    })) input.setAttribute(name, value);
    if (select.hasAttribute("aria-invalid")) input.setAttribute("aria-invalid", "true");
    select.id = `${id}-value`;
    select.hidden = true;
    input.id = id; // the label and links to the field lead to what can be seen
    select.before(input);
    select.after(list);

    const options = [...select.options].map((option) => ({
      value: option.value,
      text: option.text,
      group: option.parentElement.label ?? "",
      words: `${option.text} ${option.value} ${option.parentElement.label ?? ""}`.toLowerCase(),
    }));
    let found = [];
    let active = -1;

    const chosen = () => select.selectedOptions[0]?.text ?? "";
    const wrong = select.getAttribute("aria-invalid");

    function show() {
      input.value = chosen();
      complain("");
    }

    function complain(problem) {
      input.setCustomValidity(problem);
      if (problem || wrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }

    function open(query) {
      const words = query.toLowerCase().split(/\s+/).filter(Boolean);
      found = options.filter((one) => words.every((word) => one.words.includes(word))).slice(0, SHOWN);
      const items = [];
      found.forEach((one, index) => {
        if (one.group && one.group !== found[index - 1]?.group) {
          items.push(Object.assign(document.createElement("li"), { className: "picker-group", textContent: one.group, role: "presentation" }));
        }
        const item = Object.assign(document.createElement("li"), { id: `${list.id}-${index}`, textContent: one.text, role: "option" });
        item.dataset.index = index;
        item.setAttribute("aria-selected", String(one.value === select.value));
        items.push(item);
      });
      if (!found.length) items.push(Object.assign(document.createElement("li"), { className: "picker-group", textContent: "Nothing has all of these words", role: "option", ariaDisabled: "true" }));
      list.replaceChildren(...items);
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      move(query ? 0 : found.findIndex((one) => one.value === select.value));
    }

    function close() {
      list.hidden = true;
      active = -1;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    }

    function move(index) {
      list.querySelector(".active")?.classList.remove("active");
      active = found.length ? Math.max(0, Math.min(index, found.length - 1)) : -1;
      const item = document.getElementById(`${list.id}-${active}`);
      if (!item) return input.removeAttribute("aria-activedescendant");
      item.classList.add("active");
      input.setAttribute("aria-activedescendant", item.id);
      list.scrollTop += Math.min(0, item.offsetTop - list.scrollTop - 32);
      list.scrollTop += Math.max(0, item.offsetTop + item.offsetHeight - list.scrollTop - list.clientHeight);
    }

    function choose(index) {
      const value = found[index]?.value;
      if (value === undefined) return;
      close();
      const changed = value !== select.value;
      select.value = value;
      show();
      if (changed) select.dispatchEvent(new Event("change", { bubbles: true }));
    }

    input.addEventListener("input", (event) => {
      event.stopPropagation(); // what is typed to search is no value of the form
      complain("");
      open(input.value);
    });
    input.addEventListener("change", (event) => event.stopPropagation());
    input.addEventListener("focus", () => input.select());
    input.addEventListener("click", () => list.hidden && open(""));
    input.addEventListener("blur", () => {
      close();
      const typed = input.value.trim();
      if (!typed || typed === chosen()) show();
      else complain(`“${typed}” is none of the choices; choose one of the list.`);
    });
    input.addEventListener("keydown", (event) => {
      const moves = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + 10, PageUp: active - 10 };
      if (event.key in moves) {
        event.preventDefault();
        if (list.hidden) open("");
        else move(moves[event.key]);
      } else if (event.key === "Enter" && !list.hidden) {
        event.preventDefault();
        choose(active);
      } else if (event.key === "Escape" && !list.hidden) {
        event.preventDefault();
        close();
        show();
        input.select();
      } else if (event.key === "Tab" && !list.hidden && input.value !== chosen() && input.value) {
        choose(active);
      }
    });
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays in the box
    list.addEventListener("click", (event) => {
      const item = event.target.closest("[data-index]");
      if (item) choose(Number(item.dataset.index));
    });
    select.addEventListener("change", show);
    input.form?.addEventListener("submit", (event) => {
      if (!input.reportValidity()) event.preventDefault();
    });
    show();
  }

  for (const select of document.querySelectorAll("select[data-picker]")) enhance(select);
})();
