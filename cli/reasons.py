"""What became of the faces that a job saw: how many were recognised, and why the others were not."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from vultus.pipeline.metrics import WorkerMetrics

_NEVER_GOOD = {
    "track_small": "too small",
    "track_blurred": "blurred",
    "track_turned": "turned away",
    "track_dark": "too dark or too bright",
    "track_unsure": "hardly a face",
}
_NOBODY = {
    "below_threshold": "resembles nobody enough",
    "ambiguous": "resembles two people alike",
    "nobody_known": "while the gallery knew nobody",
}
_LEFT_OUT = ("overload", "late", "stale")


class Reasons(Struct, frozen=True, kw_only=True):
    """Figures of a job."""

    frames: int
    """Analysed."""
    frames_without_face: int
    frames_left_out: dict[str, int]
    """By reason: `overload` (a newer one was there), `late` (older than `pipeline.max_age`), `stale`."""
    faces: int
    faces_too_small: int
    """Smaller than `detect.min_face`: left out at once."""
    tracks: int
    """That ended."""
    recognised: int
    """Tracks, as all that follows."""
    rejoined: int
    """Which went on with an earlier one's sighting."""
    nobody: dict[str, int]
    """Told as unknown, by reason."""
    never_good: dict[str, int]
    """Without one face that was good enough, by what most of them lacked."""

    @classmethod
    def of(cls, workers: Sequence[WorkerMetrics]) -> Reasons:
        """From what all processes counted."""

        def counted(stage: str, name: str) -> int:
            return sum(worker.counters.counts.get(name, 0) for worker in workers if stage in worker.stages)

        left = {name: sum(worker.counters.dropped.get(name, 0) for worker in workers) for name in _LEFT_OUT}
        return cls(
            frames=counted("detect", "analysed"),
            frames_without_face=counted("detect", "no_face"),
            frames_left_out={name: count for name, count in left.items() if count},
            faces=counted("detect", "faces"),
            faces_too_small=counted("detect", "too_small"),
            tracks=counted("track", "tracks"),
            recognised=counted("match", "recognised"),
            rejoined=counted("match", "rejoined"),
            nobody={name: count for name in _NOBODY if (count := counted("match", name))},
            never_good={name: count for name in _NEVER_GOOD if (count := counted("track", name))},
        )

    def lines(self) -> list[str]:
        """For a person: a line for what was seen, and one for what was not recognised, if anything."""
        frames = f"{self.frames} frames analysed, {self.frames_without_face} without a face"
        if self.frames_left_out:
            frames += ", " + ", ".join(f"{count} left out ({name})" for name, count in self.frames_left_out.items())
        said = [frames, f"{self.recognised} recognised, {self.rejoined} seen again at once"]
        because = [f"{count} {_NOBODY[name]}" for name, count in self.nobody.items()]
        because += [f"{count} {_NEVER_GOOD[name]}" for name, count in self.never_good.items()]
        if self.faces_too_small:
            because.append(f"{self.faces_too_small} faces below detect.min_face")
        if because:
            said.append(f"not recognised: {', '.join(because)}")
        return said
