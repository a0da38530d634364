"""Pages for people: one module each, over the same gallery as the API, which their scripts use for whatever is done."""

from vultus.server.pages import account, calibration, start, static

PAGES = (start, calibration, account, static)
"""Modules with a `router`."""
