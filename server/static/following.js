// Sightings as they happen, over one stream of events that comes back by itself and misses nothing.
import { api } from "./api.js";

const PICTURE_AFTER = 2500;

/** Call `show` with each sighting after the number `since`, as `GET /sightings` has them, the oldest first. */
export function following(since, show) {
  const stream = new EventSource("/api/v1/events/stream?kind=sighting");
  let last = since, asking = false, again = false;

  // The event says that something is new; what is shown comes from one place, in order and complete.
  async function fetchNew() {
    again = true;
    if (asking) return;
    asking = true;
    try {
      while (again) {
        again = false;
        const { items, next } = await api("GET", `/sightings/follow?since=${last}&limit=100`);
        for (const one of items) {
          show(one);
          if (one.shot === null) setTimeout(showPicture, PICTURE_AFTER, one);
        }
        again ||= items.length === 100;
        last = next;
      }
    } catch {
      // The stream will say so too, and comes back.
    } finally {
      asking = false;
    }
  }

  // Pictures are kept a moment after the decision. Asked for like this, one that was corrected meanwhile is no error.
  async function showPicture(one) {
    try {
      const { items: [now] } = await api("GET", `/sightings/follow?since=${one.number - 1}&limit=1`);
      if (now?.number === one.number && now.shot !== null) show(now);
    } catch {
      // It stays without a picture.
    }
  }

  stream.addEventListener("sighting", fetchNew);
  stream.addEventListener("open", fetchNew);
  addEventListener("pagehide", () => stream.close());
}
