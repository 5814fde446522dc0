"""Whether a notice is enough, said early and with what would help."""

from __future__ import annotations

import pytest

from spotrelay.core.forecast import FIRST_SAVE_S, Forecast

GB, MB = 10**9, 10**6


@pytest.mark.parametrize(
    ("forecast", "save_s", "needed_s"),
    [
        (Forecast(), FIRST_SAVE_S, FIRST_SAVE_S),
        (Forecast(checkpoint_s=30), FIRST_SAVE_S, 30 + FIRST_SAVE_S),
        (Forecast(dirty=10 * GB), FIRST_SAVE_S, FIRST_SAVE_S),
        (Forecast(dirty=10 * GB, rate=500 * MB), 20, 20),
        (Forecast(40, 10 * GB, 500 * MB, 2), 22, 62),
        (Forecast(dirty=0, rate=500 * MB, look_s=3), 3, 3),
    ],
)
def test_what_a_notice_would_take(forecast: Forecast, save_s: float, needed_s: float) -> None:
    """Measured where it was measured, a guess where it was not."""
    assert (pytest.approx(save_s), pytest.approx(needed_s)) == (forecast.save_s, forecast.needed_s)


@pytest.mark.parametrize(
    "forecast",
    [Forecast(), Forecast(checkpoint_s=500), Forecast(dirty=900 * GB), Forecast(40, 10 * GB, 500 * MB)],
)
def test_no_alarm_where_it_fits_or_nobody_knows(forecast: Forecast) -> None:
    """A guess is no reason to wake somebody. Otherwise the next alarm, a true one, is not read."""
    assert "" == forecast.warning


def test_run_that_no_longer_fits_is_told_what_would_help() -> None:
    """In numbers that a person can act on. Otherwise the first interruption tells, by an hour's work."""
    assert (
        "a notice leaves 115 s, and sending the 60 GB of a checkpoint at 120 MB/s takes 500 s, after the 15 s that the "
        "command needs to end — choose an instance type with 4.8 Gbit/s of network or more, or let a checkpoint change "
        "at most 12 GB (run.exclude, fewer or smaller files), or save more often (save.every_s) if it is several "
        "checkpoints; until then an interruption goes back to the snapshot before it"
    ) == Forecast(15, 60 * GB, 120 * MB).warning


@pytest.mark.parametrize(
    ("dirty", "enough"),
    [(60 * GB, "4.2 Gbit/s"), (6 * GB, "417.4 Mbit/s"), (60 * MB, "4.2 Mbit/s"), (10**7 * GB, "695.7 Tbit/s")],
)
def test_network_that_would_do_is_named_whatever_its_size(dirty: int, enough: str) -> None:
    """In the unit that suits it, and never too little. Otherwise who saves over a narrow line reads "0.0 Gbit/s or
    more"."""
    assert f"an instance type with {enough} of network or more" in Forecast(None, dirty, MB / 100).warning


def test_command_that_is_too_slow_by_itself_is_told_that() -> None:
    """No network helps there. Otherwise somebody pays for a larger machine in vain."""
    warning = Forecast(130, 1 * GB, 1 * GB).warning

    assert "make the command end sooner" in warning
    assert "Gbit" not in warning
