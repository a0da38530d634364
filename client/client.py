"""The client itself: one connection pool, one method an operation that programs need, and `call` for the rest."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from vultus.client.errors import Refused, Unreachable
from vultus.client.shapes import Camera, Event, Face, FoundFace, Job, Match, Person, SearchedFace, Sighting, Unknown

Photo = str | os.PathLike[str] | bytes
"""A path, or the bytes of the file."""
Shape = TypeVar("Shape")
_BUSY = 503
_SILENCE = 45.0
"""Seconds without a word on the stream of events, which says something every 15, after which it is opened again."""


class Client:
    """Talks to one server; a context manager, or `close`. May be used by several threads.

    Every method raises Refused (a ValueError) for what the server does not do, with its reason, and Unreachable (a
    ConnectionError) if there is no answer. A server that is busy (503) is asked again, `patience` seconds long.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8470",
        key: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`key` is an API key (`vk_...`); without one the server has to be open to this machine."""
        self._patience = patience
        self._http = httpx.Client(
            base_url=address.rstrip("/") + "/api/v1",
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=timeout,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # Photos

    def detect(self, photo: Photo) -> list[FoundFace]:
        """The faces of a photo, surest first."""
        return self._photo("/detect", photo, {}, list[FoundFace])

    def search(self, photo: Photo, k: int = 5, **filters: Any) -> list[SearchedFace]:
        """The faces of a photo, each with the `k` most similar people.

        `filters`: person, collection, source, after, before, min_quality, labelled, hidden, min_similarity, faces, by.
        """
        return self._photo("/search", photo, {"k": k, **filters}, list[SearchedFace])

    def compare(self, first: Photo, second: Photo) -> float | None:
        """Similarity of the two most similar faces of two photos; none if there is no face on one."""
        answer = self.call("POST", "/compare", files={"first": _file(first), "second": _file(second)})
        return float(answer["pairs"][0]["similarity"]) if answer["pairs"] else None

    def resembling(self, face_id: int, k: int = 5, **filters: Any) -> list[Match]:
        """The people whom a stored face resembles; `filters` as in `search`."""
        answer = self.call("GET", f"/faces/{face_id}/matches", params={"k": k, **filters})
        return msgspec.convert(answer["matches"], list[Match])

    # People

    def people(self, part: str | None = None, order: str = "name") -> Iterator[Person]:
        """Everybody with a name, or those whose name has `part` in it; by name, newest, or faces."""
        return self._pages("/people", {"q": part, "order": order}, Person)

    def person(self, identity: int) -> Person:
        """One of them, known or unknown."""
        return msgspec.convert(self.call("GET", f"/people/{identity}"), Person)

    def enrol(self, name: str, photos: Sequence[Photo], collection: str | None = None) -> Person:
        """Add the faces of photos to the person of that name, who is made if not there.

        Raises Refused if no photo is of use; of several, those that are not are passed over.
        """
        files = [("photos", _file(photo)) for photo in photos]
        data = {"name": name} | ({} if collection is None else {"collection": collection})
        answer = self.call("POST", "/people", files=files, data=data)
        return msgspec.convert(answer["person"], Person)

    def rename(self, identity: int, name: str) -> Person:
        """Give a person, known or unknown, a name."""
        return msgspec.convert(self.call("PATCH", f"/people/{identity}", json={"name": name}), Person)

    def hide(self, identity: int, hidden: bool = True) -> Person:
        """Leave a person out of searches and lists, or take them in again."""
        return msgspec.convert(self.call("PATCH", f"/people/{identity}", json={"hidden": hidden}), Person)

    def merge(self, identity: int, others: Sequence[int]) -> Person:
        """Make several people one."""
        return msgspec.convert(self.call("POST", f"/people/{identity}/merge", json={"others": list(others)}), Person)

    def delete_person(self, identity: int) -> None:
        """Delete a person with all faces, vectors and pictures, for good."""
        self.call("DELETE", f"/people/{identity}")

    def export(self, identity: int) -> bytes:
        """All that is held about a person, as a zip file."""
        return self._answer("GET", f"/people/{identity}/export").content

    def faces(self, identity: int, order: str = "best") -> Iterator[Face]:
        """The faces of a person; best, oldest or newest first."""
        return self._pages(f"/people/{identity}/faces", {"order": order}, Face)

    def chip(self, face_id: int) -> bytes:
        """The aligned face as a JPEG."""
        return self._answer("GET", f"/faces/{face_id}/chip").content

    def undo(self, count: int = 1) -> list[str]:
        """Take the last acts (merge, split, move, name, rename, hide) back; what they were, in words."""
        answer = self.call("POST", "/acts/undo", json={"count": count})
        return [act["summary"] for act in answer["items"]]

    # Unknown people and sightings

    def unknowns(self, order: str = "faces") -> Iterator[Unknown]:
        """People without a name; most faces first, or newest."""
        return self._pages("/unknowns", {"order": order}, Unknown)

    def name(self, unknown: int, name: str) -> Person:
        """Say who an unknown person is; somebody of that name takes the faces in."""
        return msgspec.convert(self.call("POST", f"/unknowns/{unknown}/name", json={"name": name}), Person)

    def sightings(self, **filters: Any) -> Iterator[Sighting]:
        """Who was seen, newest first. `filters`: person, unknown, source, after, before, min_similarity."""
        return self._pages("/sightings", filters, Sighting)

    def events(self, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """What happens, as it happens, without end: everything beyond the event `after`, or (none) from now on.

        `filters`: kind, source, person, rule. A connection that is lost is made again, and nothing is lost with it;
        raises Refused if the server does not want to.
        """
        pause = 0.5
        while True:
            try:
                with self._http.stream(
                    "GET", "/events/stream", params=_given({"after": after, **filters}), timeout=_SILENCE
                ) as stream:
                    _check(stream)
                    for event in _told(stream.iter_lines()):
                        after, pause = event.id, 0.5
                        yield event
            except httpx.TransportError:
                pass
            except Refused as error:
                if error.status != _BUSY:
                    raise
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - so that many clients do not come at once
            pause = min(pause * 2, 15.0)

    # Cameras and jobs

    def cameras(self) -> Iterator[Camera]:
        """All cameras, with their state."""
        return self._pages("/cameras", {}, Camera)

    def add_camera(self, name: str, address: str) -> Camera:
        """Watch one more camera. The address may hold user and password; it comes back without."""
        return msgspec.convert(self.call("POST", "/cameras", json={"name": name, "address": address}), Camera)

    def remove_camera(self, camera: int) -> None:
        """Watch it no longer; its sightings stay."""
        self.call("DELETE", f"/cameras/{camera}")

    def snapshot(self, camera: int) -> bytes:
        """What a camera shows now, as a JPEG."""
        return self._answer("GET", f"/cameras/{camera}/snapshot").content

    def index(self, paths: Sequence[str], **options: Any) -> Job:
        """Let the server read folders of its own. `options`: label_from_folder, collection, retry_refused."""
        return msgspec.convert(self.call("POST", "/jobs/index", json={"paths": list(paths), **options}), Job)

    def upload(self, photos: Sequence[str | os.PathLike[str]], person: str | None = None) -> Job:
        """Send photos and videos, and let the server read them; with `person` they are of that person."""
        place = self.call("POST", "/uploads")
        for photo in photos:
            with open(photo, "rb") as file:
                self._answer(
                    "PUT",
                    f"/uploads/{place['id']}/files/{Path(photo).name}",
                    params=_given({"person": person}),
                    content=file,
                )
        return self.index([place["path"]], label_from_folder=person is not None)

    def job(self, job: int) -> Job:
        """How far a job is."""
        return msgspec.convert(self.call("GET", f"/jobs/{job}"), Job)

    def wait(self, job: Job, every: float = 0.5) -> Job:
        """Wait until a job is over."""
        while not job.over:
            time.sleep(every)
            job = self.job(job.id)
        return job

    # What everything goes through

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Any operation of the API, by its path below /api/v1; the answer as JSON has it.

        `arguments` are httpx's: params, json, data, files.
        """
        answer = self._answer(method, path, **arguments)
        return msgspec.json.decode(answer.content) if answer.content else None

    def _answer(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        if "params" in arguments:
            arguments["params"] = _given(arguments["params"])
        until = time.monotonic() + self._patience
        while True:
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                raise Unreachable(f"{self._http.base_url}: {error or type(error).__name__}") from error
            again = answer.headers.get("Retry-After", "")
            repeatable = not hasattr(arguments.get("content"), "read")
            if answer.status_code != _BUSY or not again.isdigit() or not repeatable:
                break
            if time.monotonic() + float(again) > until:
                break
            time.sleep(float(again))
        _check(answer)
        return answer

    def _photo(self, path: str, photo: Photo, params: dict[str, Any], shape: type[Shape]) -> Shape:
        return msgspec.convert(self.call("POST", path, params=params, files={"photo": _file(photo)})["faces"], shape)

    def _pages(self, path: str, params: dict[str, Any], shape: type[Shape]) -> Iterator[Shape]:
        cursor: Any = None
        while True:
            page = self.call("GET", path, params={**params, "cursor": cursor})
            yield from msgspec.convert(page["items"], list[shape])  # type: ignore[valid-type]
            if (cursor := page["next"]) is None:
                return


def _given(params: dict[str, Any]) -> dict[str, Any]:
    """What is said; times as the API takes them."""
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in params.items()
        if value is not None
    }


def _file(photo: Photo) -> tuple[str, bytes]:
    return ("photo", photo) if isinstance(photo, bytes) else (Path(photo).name, Path(photo).read_bytes())


def _check(answer: httpx.Response) -> None:
    if answer.status_code < 400:
        return
    try:
        problem = msgspec.json.decode(answer.read(), type=dict[str, Any])
        kind, detail = problem["type"].removeprefix("urn:vultus:"), problem["detail"]
    except (msgspec.DecodeError, KeyError, AttributeError):
        raise Unreachable(f"{answer.url}: {answer.status_code}, and no word of vultus") from None
    raise Refused(answer.status_code, kind, detail, problem)


def _told(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream of server-sent events; heartbeats and other kinds of lines are passed over."""
    data = ""
    for line in lines:
        if line.startswith("data:"):
            data += line[5:].strip()
        elif not line and data:
            tree, data = msgspec.json.decode(data), ""
            if "id" in tree:
                yield msgspec.convert(tree, Event)
