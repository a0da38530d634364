// Live: one socket for all cameras on the page; the newest picture with the newest boxes drawn over it.
import { shot } from "./api.js";
import { copy } from "./dom.js";
import { following } from "./following.js";
import { without } from "./pictures.js";
import { clock, t } from "./texts.js";

const STALE = 1.2;  // seconds that boxes may be older than the picture; a still camera is looked at every two seconds
const GOT_EVERY = 200, AGAIN = 2000, SHOWN = 12;
const COLOURS = { known: "#5fe08f", unknown: "#ffc24b", undecided: "#cfd6da" };
const DOTS = { connected: "good", lost: "bad", unusable: "bad", connecting: "unsure", waiting: "unsure" };

const tiles = new Map([...document.querySelectorAll(".tile")].map((element) => [Number(element.dataset.camera), new Tile(element)]));
const live = document.getElementById("live");
let socket, large = null, got = 0, told = 0;

function Tile(element) {
  const part = (name) => element.querySelector(`[data-part=${name}]`);
  const canvas = element.querySelector("canvas");
  const context = canvas.getContext("2d");
  const [away, state, reason, dot, lag] = ["away", "state", "reason", "dot", "lag"].map(part);
  let picture = null, marks = null, decoding = false, next = null;

  this.element = element;

  this.state = (now, why) => {
    const here = now === "connected";
    dot.className = `dot ${DOTS[now] ?? ""}`;
    if (!here) picture = null;
    away.hidden = here && picture !== null;
    state.textContent = here ? t("live.connecting") : t(`cameras.state.${now}`);
    reason.textContent = why;
  };

  this.marks = (message) => {
    marks = message;
    draw();
  };

  // While one picture is decoded only the newest of those that come is kept.
  this.picture = async (time, jpeg) => {
    next = { time, jpeg };
    if (decoding) return;
    decoding = true;
    while (next) {
      const { time: at, jpeg: data } = next;
      next = null;
      try {
        const image = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
        picture?.image.close();
        picture = { image, time: at };
        draw();
      } catch {
        // A picture that cannot be decoded is left out; the next one comes soon.
      }
    }
    decoding = false;
  };

  function draw() {
    if (!picture) return;
    away.hidden = true;
    const { width, height } = picture.image;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.drawImage(picture.image, 0, 0);
    lag.textContent = t("live.lag", { seconds: Math.max(Date.now() / 1000 - picture.time, 0).toFixed(1) });
    if (!marks || picture.time - marks.time > STALE + (marks.marks.length ? 0 : 2)) return;
    const scale = width / marks.width;
    const pixel = width / (canvas.clientWidth || width);  // of the page, so that lines and letters have one size in every tile
    const letters = 13 * pixel, line = letters + 6 * pixel;
    context.lineWidth = 2 * pixel;
    context.font = `600 ${letters}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    for (const mark of marks.marks) {
      const [x, y, w, h] = mark.box.map((value) => value * scale);
      const name = mark.name ?? (mark.identity === null ? "" : t("common.unknown_number", { n: mark.identity }));
      context.strokeStyle = COLOURS[mark.state];
      context.strokeRect(x, y, w, h);
      if (!name) continue;
      const bottom = y > line ? y : y + h + line;
      context.fillStyle = "#000c";
      context.fillRect(x, bottom - line, context.measureText(name).width + 8 * pixel, line);
      context.fillStyle = COLOURS[mark.state];
      context.fillText(name, x + 4 * pixel, bottom - 3 * pixel);
    }
  }
}

function wish() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const cameras = document.hidden ? [] : large === null ? [...tiles.keys()] : [large];
  socket.send(JSON.stringify({ cameras, large: document.hidden ? null : large }));
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", wish);
  socket.addEventListener("close", () => {
    for (const tile of tiles.values()) tile.state("connecting", t("live.server_away"));
    setTimeout(connect, AGAIN);
  });
  socket.addEventListener("message", ({ data }) => {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      const tile = tiles.get(message.camera);
      if (message.type === "state") tile?.state(message.state, message.reason);
      else if (message.type === "marks") tile?.marks(message);
      return;
    }
    const head = new DataView(data);
    if (head.getUint8(0) !== 1) return;
    got = head.getUint32(12);
    tiles.get(head.getUint32(8))?.picture(head.getFloat64(16), data.slice(24));
  });
}

// Without these words the server would send ahead of a slow line, and the pictures would grow old on their way.
setInterval(() => {
  if (got === told || socket?.readyState !== WebSocket.OPEN) return;
  told = got;
  socket.send(JSON.stringify({ got }));
}, GOT_EVERY);

const all = document.getElementById("all");

function enlarge(camera) {
  large = camera;
  live.classList.toggle("large", camera !== null);
  all.hidden = camera === null;
  for (const [number, tile] of tiles) tile.element.hidden = camera !== null && number !== camera;
  wish();
}

for (const [number, tile] of tiles) tile.element.addEventListener("click", () => enlarge(large === null ? number : null));
all.addEventListener("click", () => enlarge(null));
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && large !== null) enlarge(null); });
document.addEventListener("visibilitychange", wish);

function seen(one) {
  const [row, parts] = copy("seen-row");
  if (one.shot === null) without(parts.shot);
  else parts.shot.src = shot(one.number, one.shot);
  parts.who.textContent = one.name ?? (one.identity === null ? t("common.nobody") : t("common.unknown_number", { n: one.identity }));
  parts.where.textContent = `${one.source} · ${clock.format(new Date(one.time))}`;
  row.dataset.visit = `${one.run} ${one.source} ${one.track}`;
  const list = document.getElementById("seen");
  for (const before of [...list.children]) if (before.dataset.visit === row.dataset.visit) before.remove();
  list.prepend(row);
  while (list.children.length > SHOWN) list.lastElementChild.remove();
  document.getElementById("none-seen").hidden = true;
}

if (tiles.size) {
  connect();
  following(Number(document.getElementById("seen").dataset.newest), seen);
}
