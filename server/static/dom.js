// Making elements: every text goes in as text.

/** An element with properties (`class`, `data-…`, `aria-…` and the like as attributes, functions as listeners) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** A copy of the page's <template> with this id, and its parts by `data-part`. */
export function copy(id) {
  const element = document.getElementById(id).content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const part of element.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return [element, parts];
}

/** Call `handle(element, event)` for clicks on what carries `data-act="name"`, now and later. */
export function onAct(name, handle) {
  document.addEventListener("click", (event) => {
    const element = event.target.closest(`[data-act="${name}"]`);
    if (element) handle(element, event);
  });
}
