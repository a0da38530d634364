"""What may be indexed: folders of the server, and uploads."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from vultus.server import archives
from vultus.server.access import allowed
from vultus.server.problems import MEDIA_TYPE
from vultus.server.schemas import Listing, ProblemDetails, Schema
from vultus.server.services import Here

router = APIRouter(tags=["jobs"], dependencies=[allowed("operator", "jobs")])
UploadId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]

_ANY_FILE = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


class Folder(Schema):
    """A folder of an archive, by what lies directly in it."""

    path: str
    folders: list[str]
    photos: int
    videos: int


class Upload(Schema):
    """Files that were uploaded together; `path` is what a job is given."""

    id: str
    path: str
    files: int
    size: int


@router.get("/archives")
def list_archives(here: Here) -> Listing[str]:
    """Folders of the server that may be indexed, as `serve.archives.folders` lists them."""
    return Listing(items=here.archives.roots)


@router.get("/archives/folder")
def show_folder(here: Here, path: Annotated[str, Query(min_length=1, max_length=4096)]) -> Folder:
    """What lies in such a folder: the folders in it, and how many photos and videos."""
    found = here.archives.folder(path)
    return Folder(path=found.path, folders=list(found.folders), photos=found.photos, videos=found.videos)


@router.get("/uploads")
def list_uploads(here: Here) -> Listing[Upload]:
    """Uploads that are kept, the newest first."""
    return Listing(items=[_upload(upload) for upload in here.archives.listed()])


@router.post("/uploads", status_code=201)
def begin_upload(here: Here, response: Response) -> Upload:
    """A place for files; send each by PUT, then start a job for its `path`."""
    upload = here.archives.begin()
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    return _upload(upload)


@router.get("/uploads/{upload}")
def show_upload(here: Here, upload: UploadId) -> Upload:
    """What came so far."""
    return _upload(here.archives.upload(upload))


@router.put(
    "/uploads/{upload}/files/{name}",
    status_code=204,
    openapi_extra={"requestBody": _ANY_FILE},
    responses={415: {"model": ProblemDetails, "content": {MEDIA_TYPE: {}}, "description": "Neither photo nor video"}},
)
async def send_file(
    here: Here,
    request: Request,
    upload: UploadId,
    name: Annotated[str, Path(min_length=1, max_length=200)],
    person: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> None:
    """Send one photo or video, as it is, in the body. A job with `label_from_folder` gives `person`'s name to its face."""
    await here.archives.receive(upload, name, person, request.stream())


@router.delete("/uploads/{upload}", status_code=204)
def discard_upload(here: Here, upload: UploadId) -> None:
    """Delete the files; faces that the gallery has of them stay."""
    here.archives.discard(upload)


def _upload(upload: archives.Upload) -> Upload:
    return Upload(id=upload.id, path=upload.path, files=upload.files, size=upload.size)
