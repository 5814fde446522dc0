"""The counter that a program shows is found, and nothing else is taken for it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.cli.counters import Counted, by_expression, continued, found_in


def output(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def verdict(first: str, after: str) -> bool | None:
    """Of a second attempt after a first one, without a regular expression."""
    counter = found_in(first)
    return None if counter is None else continued(counter(first), counter(first), counter(after))


def epochs(begin: int, end: int, line: str = "epoch {n} loss {loss:.3f}") -> str:
    return output(*(line.format(n=n, loss=1 / n, minute=n // 60, second=n % 60) for n in range(begin, end)))


SHAPES = {
    "plain": "step {n}",
    "of a whole": "step {n}/100: loss {loss:.4f}",
    "in words": "{n} of 100 done",
    "behind a clock": "12:{minute:02}:{second:02} epoch {n} loss {loss:.3f}",
    "behind a date and a clock": "2024-05-17 12:{minute:02}:{second:02},123 INFO step={n}",
    "behind a process id": "[pid 4711] step {n}",
    "beside a duration": "{loss:.2f} s: epoch {n}",
    "beside a rate": "{loss:.1f}it/s iteration {n}",
    "part of a word": "epoch{n}: acc=0.7",
    "in colour": "\x1b[32mstep\x1b[0m {n}",
    "a dictionary": "{{'loss': {loss:.3f}, 'epoch': {n}}}",
    "keras": "Epoch {n}/100 - 3s 12ms/step - loss: {loss:.3f}",
}


@pytest.mark.parametrize("line", SHAPES.values(), ids=SHAPES.keys())
def test_finds_the_counter(line: str) -> None:
    """However a program words its progress, going on and starting over are told apart. Otherwise the verdict of most
    rehearsals is a shrug."""
    assert verdict(epochs(1, 9, line), epochs(9, 20, line)) is True
    assert verdict(epochs(1, 9, line), epochs(1, 20, line)) is False


TIMES = {
    "a clock": ["12:00:{n:02}"],
    "a date and a clock": ["2024-05-17T12:00:{n:02}.5Z starting"],
    "unix seconds": ["{unix}.25 alive"],
    "unix milliseconds": ["{unix}250 alive"],
    "a stopwatch": ["elapsed {n} alive"],
    "seconds": ["{n} s", "{n}.5 seconds"],
    "process ids": ["worker {n} started", "pid={n}"],
    "memory": ["{n} MB used"],
}


@pytest.mark.parametrize("lines", TIMES.values(), ids=TIMES.keys())
def test_what_rises_by_itself_is_no_counter(lines: list[str]) -> None:
    """Clocks, stopwatches and process numbers show nothing. Otherwise a program that starts over at 12:07 is said to
    have gone on from 12:03, and its author to have nothing to do."""
    for line in lines:
        text = output(*(line.format(n=n, unix=1_716_000_000 + n) for n in range(3, 30)))

        assert found_in(text) is None, line


def test_falling_and_wandering_numbers_are_no_counter() -> None:
    """A loss that falls, a reward that goes up and down, a constant. Otherwise chance decides the verdict."""
    assert found_in(output("loss 0.9", "loss 0.7", "loss 0.4")) is None
    assert found_in(output("reward 1", "reward 3", "reward 2")) is None
    assert found_in(output("seed 7", "seed 7", "seed 7")) is None


def test_two_values_count_only_as_neighbours() -> None:
    """Two numbers rise by chance half of the time; "epoch 1", "epoch 2" does not. Otherwise two learning rates do."""
    assert found_in(output("epoch 1", "epoch 2")) is not None
    assert found_in(output("score 0.1", "score 0.4")) is None
    assert found_in(output("batch 3", "batch 90")) is None


def test_whole_equal_steps_go_before_what_only_rises() -> None:
    """The step is taken, not the accuracy that also happens to rise, wherever it stands. Otherwise an attempt that
    starts over with better luck has continued."""
    lines = [f"acc {acc} at step {step}" for step, acc in enumerate([0.1, 0.2, 0.5, 0.7], start=1)]
    over = [f"acc {acc} at step {step}" for step, acc in enumerate([0.3, 0.4, 0.5, 0.7], start=1)]

    assert verdict(output(*lines), output(*over)) is False


def test_a_progress_bar_is_read_as_it_is_drawn() -> None:
    r"""A bar draws over itself with \r, grows, and shows times and rates. Otherwise nobody with tqdm gets a verdict."""

    def bar(begin: int, end: int) -> str:
        drawn = (f"\r{n:3}%|{'█' * n}| {n}/100 [00:{n:02}<01:00, {n}.1it/s]" for n in range(begin, end, 3))
        return "".join(drawn)

    assert verdict(bar(0, 30), bar(30, 60)) is True
    assert verdict(bar(0, 30), bar(0, 60)) is False


def test_counting_what_is_left_is_not_starting_over() -> None:
    """`tqdm(range(start, 100))` begins at 0 again and counts to less: nobody can tell. Otherwise a program that resumes
    as it should is told that it does not."""
    assert verdict(output(*(f"{n}/100" for n in range(9))), output(*(f"{n}/92" for n in range(20)))) is None


def test_a_line_of_the_second_attempt_alone_changes_nothing() -> None:
    """ "resumed from step 8" is not in the first attempt's words. Otherwise the first number of any greeting counts."""
    assert verdict(epochs(1, 9), "resumed from step 8\n" + epochs(9, 12)) is True
    assert verdict(epochs(1, 9), "resumed from step 8\n" + epochs(1, 12)) is False


@pytest.mark.parametrize("text", ["", "\n\n", "hello\n", "done 1\n", "∞ ² ٣\n", "9" * 1000 + "\n" + "1e999\n"])
def test_nothing_to_count(text: str) -> None:
    """Silence, one line, numbers that are none: no counter, no error. Otherwise the report of an hour is lost."""
    assert found_in(text) is None


@given(st.text(max_size=300))
def test_any_output_can_be_read(text: str) -> None:
    """Whatever a program prints is read without an error. Otherwise a binary dump ends the rehearsal."""
    counter = found_in(text)

    assert counter is None or counter(text) is not None


@given(st.integers(1, 50), st.integers(3, 50), st.integers(1, 50))
def test_any_progress_is_told_from_any_restart(begin: int, steps: int, later: int) -> None:
    """Wherever it begins, and however far it came. Otherwise the verdict depends on the moment of the interruption."""
    first = epochs(begin, begin + steps)

    assert verdict(first, epochs(begin + steps - 1, begin + steps + later)) is True
    assert verdict(first, epochs(begin, begin + later)) is False


def test_an_expression_says_what_counts() -> None:
    """The first group, or all of it, of every match that is a number. Otherwise --progress is not "to be sure"."""
    text = output("epoch 3 step 10", "epoch 3 step nan", "epoch 4 step 5")

    assert Counted(3, 4) == by_expression(re.compile(r"epoch (\d+)"))(text)
    assert Counted(10, 5) == by_expression(re.compile(r"step (\S+)"))(text)
    assert Counted(3, 4) == by_expression(re.compile(r"(?<=epoch )\d+"))(text)
    assert by_expression(re.compile(r"batch (\d+)?"))(text) is None


@pytest.mark.parametrize(
    ("first", "before", "after", "expected"),
    [
        (Counted(1, 5), Counted(1, 5), Counted(6, 9), True),
        (Counted(1, 5), Counted(1, 5), Counted(4, 9), True),  # from a checkpoint a little older
        (Counted(1, 5), Counted(1, 5), Counted(1, 9), False),
        (Counted(1, 5), Counted(6, 9), Counted(1, 9), False),
        (Counted(1, 1), Counted(1, 1), Counted(1, 9), None),  # it had not gone on: there was nothing to lose
        (Counted(1, 5), None, Counted(1, 9), None),
        (Counted(1, 5), Counted(1, 5), None, None),
        (None, None, None, None),
    ],
)
def test_continued(first: Counted, before: Counted, after: Counted, expected: bool | None) -> None:
    """Above the first beginning is on, at it is over, and what cannot be told is not told. Otherwise "?" is a guess."""
    assert expected == continued(first, before, after)
