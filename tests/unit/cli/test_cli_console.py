"""What reaches the terminal: colours of ours, no control character of anybody else's."""

from __future__ import annotations

import io
import logging
import re

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sbr.cli.console import LogLines, Terminal, clean, has_control, show_traceback

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31mred\u202egnp.exe\u2066\x7f\r\udce9"
SHOWN = "]0;owned[2J31mredgnp.exe\ufffd"


def shown(*renderables: object, force_terminal: bool = False) -> str:
    terminal = Terminal(file=io.StringIO(), width=200, force_terminal=force_terminal)
    for renderable in renderables:
        terminal.print(renderable)
    return terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_clean_keeps_words_lines_and_tabs():
    assert clean(EVIL) == SHOWN
    assert clean("a\tb\nschön 漢字 🙂") == "a\tb\nschön 漢字 🙂"
    assert has_control(EVIL) and not has_control("a\tb\n")


def test_no_control_character_of_data_is_shown():
    table = Table(EVIL, title=EVIL, caption=EVIL)
    table.add_row(EVIL)
    table.add_row(Text(EVIL, "red"))
    text = shown(EVIL, table, [EVIL])
    assert text.count(SHOWN) >= 5
    assert not has_control(text)


def test_colours_work_and_only_they():
    text = shown(Text.assemble(("error:", "bold red"), " ", EVIL), force_terminal=True)
    assert "\x1b[1;31merror:\x1b[0m" in text
    assert not has_control(re.sub(r"\x1b\[[\d;]*m", "", text))


def test_bars_move_the_cursor_and_show_no_control_character():
    terminal = Terminal(file=io.StringIO(), width=120, force_terminal=True)
    with Progress(TextColumn("{task.description}", markup=False), console=terminal) as bar:
        bar.add_task(EVIL)
        bar.refresh()
    text = terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert SHOWN in text and "\x1b[2K" in text
    assert not has_control(re.sub(r"\x1b\[\??[\d;]*[mAKhl]|\r", "", text))


def test_data_is_no_markup():
    assert shown("[red]a[/blue] :smile:") == "[red]a[/blue] :smile:\n"
    table = Table("[/x]", title="[bold]t")
    table.add_row("[/y]")
    assert {"[/x]", "[/y]", "[bold]t"} <= set(shown(table).split())


def test_the_log_is_clean():
    terminal = Terminal(file=io.StringIO(), width=200)
    logger = logging.Logger("test")
    logger.addHandler(LogLines(terminal))
    logger.warning("a model says %s", EVIL)
    text = terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert f"a model says {SHOWN}" in text and not has_control(text)


def test_a_long_line_of_the_log_stays_whole():
    terminal = Terminal(file=io.StringIO(), width=80)
    logger = logging.Logger("test")
    logger.addHandler(LogLines(terminal))
    logger.warning("look at %s", "a/" * 100)
    (line,) = terminal.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    assert line.endswith("WARNING look at " + "a/" * 100)


def test_tracebacks_of_bugs_are_whole_and_clean(capsys: pytest.CaptureFixture[str]):
    error = ValueError(EVIL)
    show_traceback(ValueError, error, error.__traceback__)
    text = capsys.readouterr().err
    assert "ValueError" in text and SHOWN in text and not has_control(text)
