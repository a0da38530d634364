"""Cursors: what they are made of, and that nobody makes one up."""

import base64

import pytest

from vultus.index.paging import Order, check_limit

NAMES = Order("name", ("folded", "id"), (str, int))
NEWEST = Order("time", ("time", "id"), (float, int), descending=True)


def test_a_cursor_is_the_place_of_the_last_row():
    rows = [("ada", 1, "Ada"), ("bob", 2, "Bob"), ("zoë", 3, "Zoë")]
    page = NAMES.page(rows, 2, lambda rest: rest[0])
    assert page.items == ["Ada", "Bob"]
    assert NAMES.place(page.cursor) == ("bob", 2)
    assert NAMES.after(page.cursor) == (["folded >= ?", "(folded, id) > (?, ?)"], ["bob", "bob", 2])
    assert NAMES.page(rows, 3, lambda rest: rest[0]).cursor is None
    assert NEWEST.after(NEWEST.cursor((1.0, 5))) == (["time <= ?", "(time, id) < (?, ?)"], [1.0, 1.0, 5])
    assert NEWEST.clause == "ORDER BY time DESC, id DESC"
    assert NAMES.after(None) == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "x" * 30_000,
        "!!!!",
        NEWEST.cursor((1.0, 5)),
        base64.urlsafe_b64encode(b'["name","ada"]').decode(),
        base64.urlsafe_b64encode(b'["name","ada","1"]').decode(),
        base64.urlsafe_b64encode(b'["name","ada",true]').decode(),
        base64.urlsafe_b64encode(b'["name","ada",1%s]' % (b"0" * 30)).decode(),
        base64.urlsafe_b64encode(b'["name","a\\u0000",1]').decode(),
        base64.urlsafe_b64encode(b"[]").decode(),
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_what_is_no_cursor(text):
    with pytest.raises(ValueError, match="no cursor of the list by name"):
        NAMES.place(text)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_what_is_no_size_of_a_page(limit):
    with pytest.raises(ValueError, match="a page has 1 to 1000 items"):
        check_limit(limit)
