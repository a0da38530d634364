"""From photographs to the vectors that are judged, each computed once and kept in a work file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.configs.schema import Config
from vultus.evaluation.work import WorkFile
from vultus.pipeline.chain import Chain
from vultus.pipeline.errors import RefusedInput
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Detections, Face, Frame, Origin
from vultus.stages import photo
from vultus.stages.align import SIDE, crop
from vultus.stages.detect import Detect
from vultus.stages.embed import vectors_of, with_lengths
from vultus.stages.landmarks import landmark_models, open_landmarks, relocated
from vultus.stages.onet import ONet
from vultus.stages.quality import Grade, grade
from vultus.weights import Embedder, Model, Registry, open_embedder

BATCH = 32
Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
"""Called with the number of pictures that are done, and of all."""


class Look(Struct, frozen=True, kw_only=True):
    """A face that was found in a photograph."""

    face: Face
    grade: Grade


class _Found(Struct, frozen=True, kw_only=True):
    """What the detector said about a photograph."""

    size: tuple[int, int]
    """Width and height."""
    looks: tuple[Look, ...]


class Judged(Struct, frozen=True, kw_only=True, eq=False):
    """The faces that stand for photographs."""

    vectors: npt.NDArray[np.float32]
    """`(n, dim)` of length 1; zeros where there is no face."""
    looks: tuple[Look | None, ...]
    """`(n,)`; none where there is no face, and for pictures that were aligned already."""
    found: npt.NDArray[np.bool_]
    """`(n,)` whether there is a face."""
    lengths: npt.NDArray[np.float32] | None
    """`(n,)` magnitudes of a MagFace model, which are quality; none of other models."""
    refused: dict[str, str]
    """Photographs that could not be read, with the reason; they count as pictures without a face."""

    def similarities(self, pairs: npt.NDArray[np.integer], missed: float) -> npt.NDArray[np.float64]:
        """`(m,)` cosines of `pairs` `(m, 2)` of pictures; `missed` where one of the two has no face."""
        first, second = pairs[:, 0], pairs[:, 1]
        cosines = np.einsum("nd,nd->n", self.vectors[first], self.vectors[second]).astype(np.float64)
        return np.where(self.found[first] & self.found[second], cosines, missed)


class FaceReader:
    """One detector and one embedder at work on photographs; a context manager. Models are loaded when first needed."""

    def __init__(self, config: Config, data: Path, work: WorkFile, *, mirrored: bool = False) -> None:
        """`mirrored` adds to each vector that of the mirrored chip. Raises ModelMissing if a model was never fetched."""
        registry = Registry(data)
        self._config, self._data, self._work, self._mirrored = config, data, work, mirrored
        registry.need(config.models.detector, config.models.embedder, *landmark_models(config))
        self.detector: Model = registry.resolve(config.models.detector, "detector")
        self.embedder: Model = registry.resolve(config.models.embedder, "embedder")
        self._landmarks = tuple(registry.resolve(name, "part").fingerprint for name in landmark_models(config))
        self._chain: Chain | None = None
        self._onet: ONet | None = None
        self._engine: Embedder | None = None

    def __enter__(self) -> FaceReader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._chain is not None:
            self._chain.close()

    def faces(self, paths: Sequence[Path], progress: Progress) -> Iterator[tuple[Path, tuple[Look, ...], str | None]]:
        """Every face of every photograph, surest first, and why one could not be read."""
        for start in range(0, len(paths), BATCH):
            for path, one in zip(
                paths[start : start + BATCH], self._detected(paths[start : start + BATCH]), strict=True
            ):
                yield path, () if isinstance(one, str) else one.found.looks, one if isinstance(one, str) else None
            progress(min(start + BATCH, len(paths)), len(paths))

    def judged(self, paths: Sequence[Path], progress: Progress) -> Judged:
        """The face that each photograph is about, as `central` chooses it, embedded."""
        vectors: list[npt.NDArray[np.float32] | None] = []
        looks: list[Look | None] = []
        refused = {}
        for start in range(0, len(paths), BATCH):
            part = paths[start : start + BATCH]
            chips: list[_Chip | None] = []
            for path, one in zip(part, self._detected(part), strict=True):
                if isinstance(one, str):
                    refused[str(path)] = one
                look = None if isinstance(one, str) else central(one.found)
                looks.append(look)
                chips.append(None if look is None or isinstance(one, str) else _Chip(one, look))
            vectors += self._embedded(chips)
            progress(len(vectors), len(paths))
        return _judged(vectors, looks, refused, self.embedder)

    def aligned(self, pictures: Sequence[bytes], progress: Progress) -> Judged:
        """Pictures that show one aligned face each, as InsightFace's sets hold them."""
        vectors: list[npt.NDArray[np.float32] | None] = []
        refused = {}
        for start in range(0, len(pictures), BATCH):
            part = pictures[start : start + BATCH]
            chips: list[_Chip | None] = []
            for number, data in enumerate(part, start=start):
                try:
                    chips.append(_Aligned(data, self._config))
                except RefusedInput as error:
                    refused[f"picture {number + 1}"] = str(error)
                    chips.append(None)
            vectors += self._embedded(chips)
            progress(len(vectors), len(pictures))
        return _judged(vectors, [None] * len(pictures), refused, self.embedder)

    def chip(self, path: Path) -> Pixels | None:
        """The face that a photograph is about, `(112, 112, 3)` uint8 BGR, for somebody to look at."""
        (one,) = self._detected([path])
        look = None if isinstance(one, str) else central(one.found)
        return None if look is None or isinstance(one, str) else _Chip(one, look).pixels()

    def _detected(self, paths: Sequence[Path]) -> list[_Photo | str]:
        photos: list[_Photo | str] = []
        for path in paths:
            try:
                photos.append(_Photo(path, self._config))
            except RefusedInput as error:
                photos.append(str(error))
        settings = msgspec.structs.replace(self._config.detect, threads=0)
        about = (self.detector.fingerprint, self._landmarks, self._config.models.backend, settings)
        keys = {id(one): _key("faces", about, one.digest) for one in photos if isinstance(one, _Photo)}
        kept = self._work.get(list(keys.values()))
        new = []
        for at, one in enumerate(photos):
            if isinstance(one, str):
                continue
            try:
                found = _found_decoder.decode(kept[keys[id(one)]])
            except (KeyError, msgspec.DecodeError):
                try:
                    found = self._detect(one.pixels())
                except RefusedInput as error:
                    photos[at] = str(error)
                    continue
                new.append((keys[id(one)], msgspec.msgpack.encode(found)))
            one.found = found
        self._work.put(new)
        return photos

    def _detect(self, pixels: Pixels) -> _Found:
        if self._chain is None:
            self._chain = Chain([Detect(self._config, self._data)])
            self._chain.open()
            self._onet = open_landmarks(self._config, self._data)
        origin = Origin(item=1, attempt=0, source="picture", seq=0, live=False, time=0.0, still=True)
        (answer,) = self._chain.process([Frame(origin=origin, image=Image(pixels))])
        assert isinstance(answer, Detections)
        aligned = answer.faces if self._onet is None else relocated(self._onet, answer.image, answer.faces)
        looks = tuple(
            Look(face=face, grade=grade(pixels, found)) for face, found in zip(aligned, answer.faces, strict=True)
        )
        return _Found(size=(pixels.shape[1], pixels.shape[0]), looks=looks)

    def _embedded(self, chips: Sequence[_Chip | None]) -> list[npt.NDArray[np.float32] | None]:
        about = (self.embedder.fingerprint, self._config.models.backend, self._mirrored, _cut())
        keys = [None if chip is None else _key("vector", about, chip.digest) for chip in chips]
        kept = self._work.get([key for key in keys if key is not None])
        size = 4 * ((self.embedder.dim or 0) + (self.embedder.magnitude is not None))
        have = {key: np.frombuffer(value, np.float32) for key, value in kept.items() if len(value) == size}
        missing = [(key, chip) for key, chip in zip(keys, chips, strict=True) if key is not None and key not in have]
        if missing:
            made = self._embed(np.stack([chip.pixels() for _, chip in missing if chip is not None]))
            fresh = {key: vector for (key, _), vector in zip(missing, made, strict=True)}
            self._work.put((key, vector.tobytes()) for key, vector in fresh.items())
            have |= fresh
        return [None if key is None else have[key] for key in keys]

    def _embed(self, chips: Pixels) -> npt.NDArray[np.float32]:
        if self._engine is None:
            embed = self._config.embed
            self._engine = open_embedder(
                self.embedder.path, threads=embed.threads, isa=embed.isa, backend=self._config.models.backend
            )
        vectors, lengths = with_lengths(self._engine, chips)
        if self._mirrored:
            vectors = vectors + vectors_of(self._engine, np.ascontiguousarray(chips[:, :, ::-1]))
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        if self.embedder.magnitude is not None:
            vectors = np.concatenate([vectors, lengths[:, None]], axis=1)
        return np.ascontiguousarray(vectors, np.float32)


class _Photo:
    """A photograph whose pixels are decoded if somebody asks."""

    found: _Found

    def __init__(self, path: Path, config: Config) -> None:
        file = photo.read(str(path), config.decode)
        self.digest, self._data, self._config = file.digest, file.data, config
        self._pixels: Pixels | None = None

    def pixels(self) -> Pixels:
        """Upright, `(h, w, 3)` uint8 BGR. Raises RefusedInput for what is no picture."""
        if self._pixels is None:
            self._pixels = photo.decode(self._data, self._config.decode)
        return self._pixels


class _Chip:
    """A face of a photograph, cut out if somebody asks."""

    def __init__(self, of: _Photo, look: Look) -> None:
        self._of, self._look = of, look
        self.digest = of.digest + msgspec.msgpack.encode(look.face.landmarks)

    def pixels(self) -> Pixels:
        """`(112, 112, 3)` uint8 BGR."""
        return crop(self._of.pixels(), self._look.face.landmarks)


class _Aligned(_Chip):
    """A picture that is a chip already."""

    def __init__(self, data: bytes, config: Config) -> None:
        self.digest = hashlib.blake2b(data, digest_size=16).digest()
        self._chip = photo.decode(data, config.decode)

    def pixels(self) -> Pixels:
        if self._chip.shape[:2] == (SIDE, SIDE):
            return self._chip
        return np.asarray(cv2.resize(self._chip, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


_found_decoder = msgspec.msgpack.Decoder(_Found)


def central(found: _Found) -> Look | None:
    """The face that a photograph is about: that of the largest area less twice its centre's squared distance from the
    picture's, as InsightFace's alignment of LFW chooses it. None without a face."""

    def weight(look: Look) -> float:
        x, y, width, height = look.face.box
        away = (x + width / 2 - found.size[0] / 2) ** 2 + (y + height / 2 - found.size[1] / 2) ** 2
        return width * height - 2 * away

    return max(found.looks, key=weight, default=None)


def aligned_chip(data: bytes, config: Config) -> Pixels:
    """An aligned picture as `(112, 112, 3)` uint8 BGR. Raises RefusedInput for what is none."""
    return _Aligned(data, config).pixels()


def _judged(
    vectors: Sequence[npt.NDArray[np.float32] | None],
    looks: Sequence[Look | None],
    refused: dict[str, str],
    embedder: Model,
) -> Judged:
    found = np.array([vector is not None for vector in vectors], bool)
    dim, measured = embedder.dim or 0, embedder.magnitude is not None
    every = np.zeros((len(vectors), dim + measured), np.float32)
    for row, vector in zip(every, vectors, strict=True):
        if vector is not None:
            row[:] = vector
    lengths = every[:, dim].copy() if measured else None
    return Judged(
        vectors=np.ascontiguousarray(every[:, :dim]), looks=tuple(looks), found=found, lengths=lengths, refused=refused
    )


def _key(kind: str, about: object, digest: bytes) -> bytes:
    return hashlib.blake2b(kind.encode() + msgspec.json.encode(about) + digest, digest_size=24).digest()


def _cut() -> str:
    """What the cut of a made face hashes to: another way of aligning is another key, whoever forgets to say so."""
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    small = crop(picture, ((110.0, 120.0), (170.0, 115.0), (140.0, 150.0), (118.0, 185.0), (165.0, 180.0)))
    large = crop(picture, ((30.0, 60.0), (230.0, 65.0), (140.0, 150.0), (60.0, 250.0), (220.0, 245.0)))
    return hashlib.blake2b(small.tobytes() + large.tobytes(), digest_size=8).hexdigest()
