"""Copies of the gallery."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse

from vultus.configs.loader import backup_folder
from vultus.server.access import allowed
from vultus.server.jobs.tasks import backups
from vultus.server.problems import Problem
from vultus.server.schemas import Listing, Schema, moment
from vultus.server.services import Here

router = APIRouter(prefix="/backups", tags=["system"], dependencies=[allowed("admin", "system")])
Name = Annotated[str, Path(pattern=r"^gallery-[0-9]{8}-[0-9]{6}\.vultus$")]


class Backup(Schema):
    """A copy of the gallery, whole, as it was at one moment."""

    name: str
    made: datetime
    size: int


class BackupList(Listing[Backup]):
    """Copies, newest first, and the schedule."""

    every_hours: float | None
    """How often one is made by itself; null: only when asked (`POST /jobs/backup`)."""
    keep: int


@router.get("")
def list_backups(here: Here) -> BackupList:
    """The copies that there are. `vultus gallery restore` makes a gallery of one."""
    rules = here.config.serve.backup
    items = [Backup(name=one.name, made=moment(one.made), size=one.size) for one in backups(here.config)]
    return BackupList(items=items, every_hours=rules.every_hours, keep=rules.keep)


@router.get("/{name}", response_class=FileResponse)
def download(here: Here, name: Name) -> FileResponse:
    """A copy as a file. It holds faces and names: keep it as safe as the gallery."""
    file = backup_folder(here.config) / name
    if not file.is_file():
        raise Problem(404, "unknown-backup", f"There is no backup {name}.")
    return FileResponse(file, media_type="application/octet-stream", filename=name)


@router.delete("/{name}", status_code=204)
def delete(here: Here, name: Name) -> None:
    """Delete a copy."""
    try:
        (backup_folder(here.config) / name).unlink()
    except FileNotFoundError:
        raise Problem(404, "unknown-backup", f"There is no backup {name}.") from None
