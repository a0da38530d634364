// Of some faces and sightings no picture is kept: a sign stands in its place.

/** Put the sign in the place of an image. */
export function without(image) {
  const sign = document.querySelector(".none-kept").content.firstElementChild.cloneNode(true);
  sign.className = `${image.className} none`;
  image.replaceWith(sign);
}

document.addEventListener("error", (event) => { if (event.target.matches?.("img.face[src]")) without(event.target); }, true);
for (const image of document.querySelectorAll("img.face[src]")) if (image.complete && !image.naturalWidth) without(image);
