"""A browser of tests."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
Look = Callable[..., Page]
"""Opens a page at a path of the server: `look("/people", width=360, color_scheme="dark")`."""
