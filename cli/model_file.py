"""What a model file says of itself, whether or not vultus knows it by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct, structs

from vultus.cli.model_facts import megabytes, normalisation
from vultus.native import Engine, ModelFormatError, Network
from vultus.weights import Embedder, PictureNetwork, open_embedder, open_network

_ANY = (320, 320)


class FileFacts(Struct, frozen=True, kw_only=True):
    """What opening it told."""

    file: str
    bytes: int
    sha256: str
    computed_by: str
    format: str | None = None
    precision: str | None = None
    """`fp32` or `int8`; this and the format are told of embedders that the engine computes."""
    input_size: tuple[int, int] | None
    """Height and width; none: any."""
    colour: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int | None = None
    """Numbers of an embedding; none of what is no embedder."""
    outputs: dict[str, tuple[int, ...]] | None = None
    """Of what is no embedder, for one picture of `input_size` or, if that is any, 320×320."""
    layers: tuple[str, ...] = ()
    """As the engine computes them; empty where it does not."""
    bytes_of_weights: int | None = None
    bytes_per_thread: int | None = None

    def rows(self) -> list[tuple[str, object]]:
        """For people."""
        size = "pictures of any size" if self.input_size is None else "{}×{} pixels".format(*self.input_size)
        told: list[tuple[str, object]] = [
            ("file", f"{self.file}, {megabytes(self.bytes)}"),
            ("SHA-256", self.sha256),
            ("format", self.format and f"{self.format}, {self.precision}"),
            ("computed by", self.computed_by),
            ("takes", f"{size}, {self.colour.upper()}, {normalisation(self.mean, self.std)}"),
            ("gives", None if self.dim is None else f"{self.dim} numbers"),
        ]
        told += [(f"gives {name}", " × ".join(map(str, shape))) for name, shape in (self.outputs or {}).items()]
        if self.layers:
            told.append(("layers", f"{len(self.layers)}; `vultus bench engine {self.file}` says how long each takes"))
        if self.bytes_of_weights is not None and self.bytes_per_thread is not None:
            weights, thread = megabytes(self.bytes_of_weights), megabytes(self.bytes_per_thread)
            told.append(("memory", f"{weights} of weights, and {thread} for each thread"))
        return [(name, value) for name, value in told if value is not None]


def facts_of(path: Path) -> FileFacts:
    """Open an embedder or another network, EFM3 or ONNX. Raises what `Engine` raises."""
    ways: tuple[Callable[[], FileFacts], ...] = (
        lambda: _of_embedder(path, Engine(path, threads=1)),
        lambda: _of_network(path, Network(path, threads=1)),
        lambda: _of_embedder(path, open_embedder(path, threads=1)),
        lambda: _of_network(path, open_network(path, threads=1)),
    )
    refusal: ModelFormatError | None = None
    for way in ways:
        try:
            return way()
        except ModelFormatError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _of_embedder(path: Path, model: Embedder) -> FileFacts:
    facts = structs.replace(_of_any(path, model), dim=model.dim)
    if not isinstance(model, Engine):
        return facts
    memory = model.memory
    return structs.replace(
        facts,
        format=model.format.split()[0],
        precision=model.precision,
        layers=model.layers,
        bytes_of_weights=memory["weights"],
        bytes_per_thread=memory["per_thread"],
    )


def _of_network(path: Path, model: PictureNetwork) -> FileFacts:
    return structs.replace(_of_any(path, model), outputs=model.outputs(model.input_size or _ANY))


def _of_any(path: Path, model: Embedder | PictureNetwork) -> FileFacts:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    ours = isinstance(model, Engine | Network)
    return FileFacts(
        file=str(path),
        bytes=path.stat().st_size,
        sha256=digest,
        computed_by="the engine" if ours else "ONNX Runtime, since the engine lacks an operator of it",
        input_size=model.input_size,
        **model.normalisation,
    )
