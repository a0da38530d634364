"""Sample photographs for the demo and the tests, by name like models, with the people to thank for them."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from vultus.weights.disk import locked, matches, write_atomically
from vultus.weights.manifest import Digest, Manifest, shipped
from vultus.weights.registry import Progress


class Sample(Struct, frozen=True, kw_only=True):
    """One photograph; author and licence belong beside it wherever it is shown."""

    file: str
    """Its name in the folder of samples."""
    person: str | None
    """None for a group."""
    author: str
    licence: str
    source: str
    """Address of the page it comes from."""

    @property
    def credit(self) -> str:
        """One line to print beside the picture."""
        return f"{self.person or 'Group'}: {self.author}, {self.licence}"


class Samples:
    """The photographs of the manifest, kept in `data / "samples"`."""

    def __init__(self, data: Path, manifest: Manifest | None = None) -> None:
        self.folder = data / "samples"
        self._manifest = manifest or shipped()

    def list(self) -> tuple[Sample, ...]:
        """Every photograph, whether it is here or not."""
        return tuple(
            Sample(file=file, person=photo.person, author=photo.author, licence=photo.licence, source=photo.origin)
            for file, photo in self._manifest.samples.items()
        )

    def pull(self, from_dir: Path | None = None, progress: Progress | None = None) -> Path:
        """Fetch and check what is not here yet, write CREDITS.md beside it, and return the folder.

        Raises FetchFailed (an OSError) if no source has a photograph.
        """
        from vultus.weights.fetch import Fetcher  # as in the registry

        with locked(self.folder), Fetcher(self._manifest.archives, from_dir) as fetcher:
            for file, photo in self._manifest.samples.items():

                def report(step: str, share: float, file: str = file) -> None:
                    if progress is not None:
                        progress(file, step, share)

                path = self.folder / file
                if not (path.is_file() and matches(path, photo.sha256, photo.bytes)):
                    digest = Digest(sha256=photo.sha256, bytes=photo.bytes)
                    write_atomically(path, fetcher.get(file, [photo.source], digest, report))
                report("ready", 1.0)
            write_atomically(self.folder / "CREDITS.md", self._credits().encode())
        return self.folder

    def _credits(self) -> str:
        rows = [
            f"| `{each.file}` | {each.person or 'a group'} | {each.author} | {each.licence} | <{each.source}> |"
            for each in self.list()
        ]
        head = ["# Credits", "", "| file | who | author | licence | source |", "|---|---|---|---|---|"]
        return "\n".join([*head, *rows]) + "\n"
