"""Progress lines: quiet at first, plain where there is no terminal, and nothing torn."""

import io

import pytest

from attn_jax import progress


def painter(monkeypatch: pytest.MonkeyPatch) -> tuple[progress._Painter, io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", stream)
    return progress._Painter(), stream


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (7500, "2 h 05 min"), (-3, "0 s")]
)
def test_durations(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


def test_nothing_in_the_first_three_seconds_then_plain_lines_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, stream = painter(monkeypatch)
    drawing.tasks = [progress.Task("compiling")]
    start = drawing.tasks[0].started
    for second in range(40):
        drawing._paint("line", start + second)
    assert stream.getvalue().splitlines() == ["line"] * 3  # at 3, 18 and 33 s
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, stream = painter(monkeypatch)
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    drawing.tasks = [progress.Task("compiling")]
    for second in (4, 5):
        drawing._paint("line", drawing.tasks[0].started + second)
    drawing.message("done")
    assert stream.getvalue() == "\rline\x1b[K" * 2 + "\r\x1b[K" + "done\n"


def test_track_passes_everything_through_and_tells_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    with progress.task("outer"):
        for item in progress.track(range(4), "inner", total=4):
            seen.append(item)
            inner = progress._painter.tasks[-1]
            if item == 2:
                assert inner.text.startswith("2 of 4")
    assert seen == [0, 1, 2, 3]
    assert not progress._painter.tasks
