// Sightings as they happen, over one stream of events that comes back by itself and misses nothing.
import { api } from "./api.js";

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
        items.forEach(show);
        again ||= items.length === 100;
        last = next;
      }
    } catch {
      // The stream will say so too, and comes back.
    } finally {
      asking = false;
    }
  }

  stream.addEventListener("sighting", fetchNew);
  stream.addEventListener("open", fetchNew);
  addEventListener("pagehide", () => stream.close());
}
