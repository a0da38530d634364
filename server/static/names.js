// A field for a person's name that proposes those who are known: a combobox as WAI-ARIA describes it.
import { api, picture } from "./api.js";
import { make } from "./dom.js";

let count = 0;

/** Make a combobox of the input inside `.names`; the chosen name stands in the input. */
export function proposing(holder) {
  const input = holder.querySelector("input");
  const list = make("ul", { role: "listbox", id: `names-${++count}`, hidden: true });
  holder.append(list);
  for (const [name, value] of Object.entries({
    role: "combobox", autocomplete: "off", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id, maxlength: 200,
  })) input.setAttribute(name, value);
  let asking, timer, current = -1;

  function close() {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    current = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(name) {
    input.value = name;
    close();
    input.dispatchEvent(new Event("chosen"));
  }

  function point(next) {
    list.children[current]?.setAttribute("aria-selected", "false");
    current = (next + list.children.length) % list.children.length;
    list.children[current].setAttribute("aria-selected", "true");
    list.children[current].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", list.children[current].id);
  }

  async function propose() {
    const typed = input.value.trim();
    if (!typed) return close();
    asking?.abort();
    asking = new AbortController();
    let people;
    try {
      ({ items: people } = await api("GET", `/people?limit=8&q=${encodeURIComponent(typed)}`, undefined, { signal: asking.signal }));
    } catch {
      return close();  // proposals are a help; saving tells what is wrong
    }
    const options = people.filter((person) => person.name).map((person, at) => make(
      "li", { role: "option", id: `${list.id}-${at}`, "aria-selected": "false", pointerdown: (event) => { event.preventDefault(); choose(person.name); } },
      person.best_face === null ? null : make("img", { class: "face", src: picture(person.best_face), alt: "" }),
      make("span", { class: "cut" }, person.name),
    ));
    list.replaceChildren(...options);
    current = -1;
    list.hidden = !options.length || document.activeElement !== input;
    input.setAttribute("aria-expanded", String(!list.hidden));
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(propose, 120);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown") point(current + 1);
    else if (event.key === "ArrowUp") point(current < 0 ? list.children.length - 1 : current - 1);
    else if (event.key === "Enter" && current >= 0) choose(list.children[current].querySelector("span").textContent);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

for (const holder of document.querySelectorAll(".names")) proposing(holder);
