"""Climb to the fastest batch size by trying neighbouring ones, and schedule retries."""

from __future__ import annotations

import math

import attrs

from rjepa_core.text import count

from .ladder import Ladder
from .speed_model import Gain, Speeds

# A trial is decided after this many measurements at the latest.
_LONGEST_TRIAL = 4
# A gain this many standard deviations below 0 is clearly slower; then one measurement is enough.
_CLEAR = 1.5
# Fewer slow measurements than this may be accidental.
_CERTAIN = 3
# Measurements until smaller sizes are tried again, doubled up to the second number; sizes below an
# eighth of the present one are not tried.
_LOOK_DOWN, _LOOK_DOWN_RARELY = 16, 256
_LARGEST_STEP_DOWN = 8
# The survey at the beginning halves the size down to one this small.
_SURVEY_ENDS = 8


@attrs.frozen
class Move:
    """The reason for a change of size."""

    reason: str
    detail: str


@attrs.define
class _Trial:
    size: int
    measurements: int = 0


class Climb:
    """A search for the fastest size that tries the neighbours of the present one, `home`.

    A trial runs a few batches at another size; the larger of two is kept if it is clearly faster.
    The search begins with smaller sizes (a card that silently spills its memory must be noticed
    before going up), then doubles the size as long as that is faster, and after a failure tries
    the sizes in between.
    """

    def __init__(self, ladder: Ladder, start: int, patience: int, margin: float) -> None:
        self._ladder = ladder
        self._patience = patience
        self._margin = math.log1p(margin)
        self._speeds = Speeds()
        self._retries = Retries(patience)
        self._now = 0
        self._next_up = 0
        self._look_wait = _LOOK_DOWN
        self._next_look = _LOOK_DOWN
        self._trial: _Trial | None = None
        self._wanted: int | None = None
        self.home = start
        self._survey: int | None = self._half(start)

    @property
    def size(self) -> int:
        """Rows to run now."""
        return self._trial.size if self._trial else self.home

    @property
    def steady(self) -> bool:
        """Whether no trial is running."""
        return self._trial is None

    def hold_below(self, most: int | None) -> None:
        """Limit the size to `most` rows, for which there is memory; None lifts the limit.

        A size that was lowered comes back as soon as there is memory, without a trial.
        """
        if most is not None and most < self.size:
            self._trial = None
        if most is not None and most < self.home:
            self._wanted = max(self.home, self._wanted or 0)
            self.home = most
        elif self._wanted and (most is None or most > self.home):
            self.home = min(self._wanted, most or self._wanted)
            self._trial = None
            if self.home == self._wanted:
                self._wanted = None

    def ran_out(self, most: int) -> None:
        """Note that the present size did not fit and that `most` rows may; pause trials."""
        self._wanted = None
        if self._trial and self._trial.size > self.home:
            self._retries.failed(self._trial.size, self._now, clear=True)
            self._next_up = self._now + self._patience
        self._trial = None
        self.home = min(self.home, most)

    def has_room_again(self) -> None:
        """Allow a trial of the next larger size now, because memory was freed."""
        self._next_up = min(self._next_up, self._now)

    def measured(self, speed: float, most: int) -> Move | None:
        """Learn the speed of the present size; as far as is known, `most` rows fit.

        Returns:
            why the size has changed, or None.
        """
        self._now += 1
        self._speeds.add(self.size, speed)
        if self._trial:
            self._trial.measurements += 1
            return self._judge(self._trial)
        return self._watch() or self._explore(most)

    def give_up_trial(self) -> None:
        """End a trial that gets no measurements."""
        self._trial = None
        self._next_up = self._now + self._patience

    def _judge(self, trial: _Trial) -> Move | None:
        up = trial.size > self.home
        larger, smaller = max(trial.size, self.home), min(trial.size, self.home)
        gain = self._speeds.gain(larger, smaller)
        last = trial.measurements >= _LONGEST_TRIAL
        better = gain.mean >= self._margin
        worse = _clearly_slower(gain) or (gain.mean < 0 and trial.measurements > 1)
        if self._survey and trial.measurements < 2:
            return None  # everything after the survey depends on it
        if not (better or worse or last):
            return None
        self._trial = None
        if self._survey:
            self._survey = self._half(trial.size) if trial.size > _SURVEY_ENDS else None
        if up and better:
            self._retries.succeeded(larger, self._now)
            self._settle(larger)
            return Move("faster", self._compare(gain, larger, smaller))
        if up:
            wait = self._fail(larger, gain)
            return Move(
                "not faster",
                f"{self._compare(gain, larger, smaller)}; next try in "
                f"{count(wait, 'batch')} or more",
            )
        if not better:
            return self._down(larger, smaller, gain)
        self._look_down_later()
        return Move("back", self._compare(gain, larger, smaller))

    def _watch(self) -> Move | None:
        """Check with each new measurement whether the present size is still worth it."""
        smaller = self._speeds.measured_below(self.home)
        if smaller is None or smaller * 2 < self.home:
            return None
        gain = self._speeds.gain(self.home, smaller)
        if self._speeds.count(self.home) < 2 or gain.mean + gain.sd / 2 >= self._margin:
            return None
        return self._down(self.home, smaller, gain)

    def _explore(self, most: int) -> Move | None:
        home = self.home
        if self._speeds.collapsed(home):
            self._speeds.forget_before(home, 3)
            if (down := self._half(home)) < home:
                return self._try(
                    down, f"{count(home, 'row')} became slower; is a smaller size faster?"
                )
        if self._survey and self._survey >= home:
            self._survey = None
        due = self._survey or (self._rival() if self._now >= self._next_look else home)
        if due < home:
            return self._try(due, f"is a larger size than {count(due, 'row')} worth it?")
        if self._now < self._next_up:
            return None
        up = self._ladder.floor(min(2 * home, most))
        failed = self._retries.lowest(above=home)
        if failed is not None and up >= failed:
            up = self._ladder.between(home, failed) or failed
        if up <= home or up > most or not self._retries.due(up, self._now):
            return None
        return self._try(up, f"{count(home, 'row')} went well")

    def _rival(self) -> int:
        """Return the smaller size that is most likely as fast as the present one."""
        found, size = self.home, self.home
        least = math.inf
        while (smaller := self._half(size)) < size and smaller * _LARGEST_STEP_DOWN >= self.home:
            gain, size = self._speeds.gain(self.home, smaller), smaller
            if (doubt := (gain.mean - self._margin) / max(gain.sd, 1e-9)) < least:
                found, least = size, doubt
        return found

    def _half(self, size: int) -> int:
        return min(self._ladder.floor(size / 2), self._ladder.below(size))

    def _try(self, size: int, why: str) -> Move:
        self._trial = _Trial(size)
        return Move("trial", why)

    def _down(self, larger: int, smaller: int, gain: Gain) -> Move:
        wait = self._fail(larger, gain)
        self._settle(smaller)
        self._next_up = self._now + self._patience
        slower = "slower" if gain.mean < 0 else "not faster"
        return Move(
            slower,
            f"{self._compare(gain, larger, smaller)}; next try in {count(wait, 'batch')} or more",
        )

    def _fail(self, larger: int, gain: Gain) -> int:
        self._next_up = self._now + self._patience
        certain = self._speeds.count(larger) >= _CERTAIN
        return self._retries.failed(larger, self._now, _clearly_slower(gain), certain)

    def _settle(self, size: int) -> None:
        self.home = size
        self._wanted = None
        self._next_up = self._now
        self._look_wait = _LOOK_DOWN
        self._next_look = self._now + self._look_wait

    def _look_down_later(self) -> None:
        self._next_look = self._now + self._look_wait
        self._look_wait = min(2 * self._look_wait, _LOOK_DOWN_RARELY)
        self._next_up = min(self._next_up, self._now)

    def _compare(self, gain: Gain, larger: int, smaller: int) -> str:
        speeds = [self._speeds.typical(size) or 0.0 for size in (larger, smaller)]
        return (
            f"{count(larger, 'row')} {speeds[0]:.3g} token/s, "
            f"{count(smaller, 'row')} {speeds[1]:.3g}; "
            f"{gain.ratio - 1:+.0%} as far as can be told"
        )


def _clearly_slower(gain: Gain) -> bool:
    return gain.mean + _CLEAR * gain.sd < 0


# Longest wait in measurements: what failed at the beginning of a run may fit at its end.
_LONGEST = 512


@attrs.define
class _Failure:
    wait: int
    due: int
    clear: bool


class Retries:
    """The sizes that failed, and when each may be retried, counted in measurements."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._failures: dict[int, _Failure] = {}

    def failed(self, size: int, now: int, clear: bool, certain: bool = True) -> int:
        """Note a failure and return the wait until the next try.

        It is twice the last wait, or four times if the failure was clear and certain, up to a
        maximum.
        """
        known = self._failures.get(size)
        if known:
            wait = min(_LONGEST, known.wait * (4 if clear and certain else 2))
        else:
            wait = self._base * (2 if clear else 1)
        self._failures[size] = _Failure(wait, now + wait, clear)
        return wait

    def succeeded(self, size: int, now: int) -> None:
        """Forget failures up to this size; larger ones may be tried soon."""
        for failed in [s for s in self._failures if s <= size]:
            del self._failures[failed]
        for failure in self._failures.values():
            failure.due = min(failure.due, now + self._base)

    def lowest(self, above: int) -> int | None:
        """Return the smallest size above `above` that failed clearly."""
        failed = (size for size, failure in self._failures.items() if failure.clear)
        return min((size for size in failed if size > above), default=None)

    def due(self, size: int, now: int) -> bool:
        """Return whether the size may be tried."""
        return size not in self._failures or now >= self._failures[size].due
