"""What waits for whoever looks at cameras: the newest, of each camera, with names."""

import threading

import pytest

from vultus.pipeline.messages import Boxes, Marks, Names, Preview, Spotted, Who
from vultus.pipeline.screen import Screen


def picture(item=1, time=1.0, **given):
    return Preview(item=item, time=time, width=4, height=3, jpeg=b"jpeg", **given)


def boxes(*tracks, item=1, time=1.0):
    faces = tuple(Spotted(track=track, box=(track, 0, 9, 9), score=0.9) for track in tracks)
    return Boxes(item=item, time=time, width=40, height=30, faces=faces)


def names(*people, item=1):
    return Names(item=item, people=people)


ANNA = Who(track=1, identity=7, name="Anna", similarity=0.6, clear=True)


def test_the_newest_of_each_camera_waits_and_cameras_take_turns():
    screen = Screen()
    for time in range(100):
        screen.put(picture(1, time))
        screen.put(boxes(1, item=1, time=time))
    screen.put(picture(2, 5.0))
    screen.put(picture(1, 100.0))
    taken = [screen.take() for _ in range(3)]
    assert [(type(one), one.item, one.time) for one in taken] == [
        (Preview, 1, 100.0),
        (Marks, 1, 99),
        (Preview, 2, 5.0),
    ]


def test_boxes_get_the_names_that_were_decided():
    screen = Screen()
    screen.put(boxes(1, 2))
    assert [(mark.track, mark.state) for mark in screen.take().marks] == [(1, "undecided"), (2, "undecided")]
    screen.put(names(ANNA))
    again = screen.take()
    assert (again.time, again.width, again.height) == (1.0, 40, 30)
    assert [(mark.state, mark.name, mark.identity, mark.box) for mark in again.marks] == [
        ("known", "Anna", 7, (1, 0, 9, 9)),
        ("undecided", None, None, (2, 0, 9, 9)),
    ]
    screen.put(names(ANNA))
    screen.put(boxes(1, 2, time=2.0))
    assert screen.take().time == 2.0, "the same names again are no news"
    screen.put(names(ANNA, Who(track=2, similarity=0.1, reason="below_threshold")))
    assert [(mark.state, mark.reason) for mark in screen.take().marks] == [
        ("known", None),
        ("unknown", "below_threshold"),
    ]


def test_hidden_people_have_no_mark_and_an_empty_picture_takes_marks_away():
    screen = Screen()
    screen.put(names(Who(track=2, hidden=True)))
    screen.put(boxes(1, 2))
    assert [mark.track for mark in screen.take().marks] == [1]
    screen.put(boxes(time=2.0))
    assert screen.take().marks == ()


def test_what_is_old_is_not_shown_when_somebody_comes_back():
    screen = Screen()
    screen.put(boxes(1))
    screen.put(picture())
    screen.forget(1)
    screen.put(names(ANNA))
    screen.put(picture(2))
    assert screen.take().item == 2


def test_a_full_picture_goes_to_all_who_asked_and_to_nobody_else():
    screen = Screen()
    with screen.asking(1) as one, screen.asking(1) as two, screen.asking(2) as other:
        screen.put(picture(1, full=True))
        assert one.result(0) == two.result(0)
        assert not other.done()
    screen.put(picture(2, full=True))
    screen.put(picture(3))
    assert screen.take().item == 3
    assert not screen._asking


def test_the_end_frees_who_waits():
    screen, taken = Screen(), []
    reader = threading.Thread(target=lambda: taken.append(screen.take()))
    reader.start()
    with screen.asking(1) as picture_of_one:
        screen.close()
        reader.join(5)
        assert taken == [None]
        with pytest.raises(TimeoutError, match="ended"):
            picture_of_one.result(5)
    with screen.asking(1) as late, pytest.raises(TimeoutError, match="ended"):
        late.result(5)
