// The REST API as the pages use it: JSON both ways, the CSRF token, and errors whose message is a sentence for people.

export class ApiError extends Error {
  constructor(status, kind, detail) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }
}

let session;
async function token() {
  session ??= fetch("/api/v1/session").then((answer) => (answer.ok ? answer.json() : {}));
  return (await session).csrf ?? "";
}

/** Ask the API. `body` is sent as JSON; a form or a file as it is. Returns what came, null for nothing; throws ApiError. */
export async function api(method, path, body, { signal } = {}) {
  const headers = {};
  const signingIn = method === "POST" && path === "/session";
  if (method !== "GET" && !signingIn) headers["X-CSRF-Token"] = await token();
  if (body instanceof Blob) headers["Content-Type"] = "application/octet-stream";
  else if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  const answer = await fetch(`/api/v1${path}`, { method, headers, body, signal });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401 && problem.type !== "urn:vultus:wrong-login") {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  throw new ApiError(answer.status, problem.type ?? "", problem.detail ?? `${answer.status} ${answer.statusText}`);
}

/** Address of a stored face's picture. */
export const picture = (face) => `/api/v1/faces/${face}/chip`;

/** Address of one of a sighting's pictures. */
export const shot = (sighting, number) => `/api/v1/sightings/${sighting}/shots/${number}`;

/** Where a face was seen, for people: of an uploaded file its name. */
export const placeName = (source) => source.replace(/^upload\/[0-9a-f]+\//, "");
