"""The driver's side of a run: hand out work, write results, and redo the work of lost workers.

Work is in one place at a time: pending, held by one worker, or in the sink. A parcel is accepted
only from the worker that holds its work, so that nothing is written twice; a lost worker's work
goes back to pending, so that nothing is lost. A worker holds at most twice the rows that it has
room for, so that it never waits for more and never outruns the single writer.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import suppress

import attrs

from rjepa_core.domain.trace import Failure, RecordKey, Work
from rjepa_core.errors import BackendError
from rjepa_core.ports.backend import InFlight, Room
from rjepa_core.ports.executor import Ending, Progress, Watch, WorkQueue
from rjepa_core.ports.scheduler import Decision
from rjepa_core.ports.store import RecordSink
from rjepa_core.text import count

from .crew import Crew, Member
from .messages import Answer, Lost, Parcel

LOST_WORKER = "worker lost"
# A problem whose worker was lost this often is done alone; if that worker is lost too, it fails.
_SUSPECT = 3
_WAIT = 1.0
# A worker that has not started after this many seconds is not counted on.
_LATE = 60.0


class Dispatch:
    """A run over a crew. Its counts are those of the sink and of all workers together."""

    def __init__(
        self,
        crew: Crew,
        layers: tuple[int, ...],
        pending: WorkQueue,
        missing: int,
        sink: RecordSink,
        watch: Watch,
    ) -> None:
        self._crew, self._layers = crew, layers
        self._pending, self._left = pending, missing
        self._sink, self._watch = sink, watch
        self._progress = Progress()
        self._losses: Counter[RecordKey] = Counter()
        self._suspects: list[Work] = []
        self._stopping = False

    def run(self) -> tuple[Ending, Progress]:
        """See `Executor.run`."""
        self._crew.begin()
        try:
            while self._hand_out() or self._more:
                with self._watch.computing():
                    came = self._crew.wait(_WAIT)
                if came is not None:
                    self._take_in(*came)
                self._stopping = self._watch.stop() or self._stopping
        except KeyboardInterrupt:
            self._take_what_is_there()
            raise
        finally:
            self._sink.commit()
        self._pending.put_back(self._suspects)
        for member in self._crew.ready:
            if member.begun:
                self._crew.pool.end(member.number)
        return (Ending.STOPPED if self._pending else Ending.DONE), self._progress

    @property
    def _more(self) -> bool:
        return not self._stopping and bool(self._suspects or self._pending)

    # --- out ----------------------------------------------------------------------------------

    def _hand_out(self) -> bool:
        """Ask every available worker; return whether any holds work."""
        for member in self._crew.ready:
            if not member.asked and not member.ended:
                work = [] if self._stopping else self._share(member)
                if work or member.held:
                    self._ask(member, work)
        return any(member.held for member in self._crew.members.values())

    def _ask(self, member: Member, work: list[Work]) -> None:
        if not member.begun:
            self._crew.pool.begin(member.number, self._layers)
            member.begun, member.progress = True, Progress()
        member.held.update((item.key, item) for item in work)
        member.asked = True
        self._crew.pool.exchange(member.number, work, self._stopping)

    def _share(self, member: Member) -> list[Work]:
        """Return the work to give to a worker.

        That is enough to continue without waiting, and towards the end no more than its share.
        """
        if any(self._losses[key] >= _SUSPECT for key in member.held):
            return []
        if self._suspects and not member.held:
            return [self._suspects.pop()]
        now = time.monotonic()
        crew = [
            m for m in self._crew.members.values() if m.hello is not None or now - m.started < _LATE
        ]
        held = len(member.held)
        rows = member.rows
        wanted = 2 * rows if self._left > 2 * rows * len(crew) else rows
        fair = math.ceil((self._left + sum(len(m.held) for m in crew)) / len(crew))
        count = min(wanted, max(fair, 1)) - held
        if count <= 0 or not self._pending:
            return []
        work = self._pending.take(Room(count, None, count, 0), lambda item: 1)
        self._left -= len(work)
        return work

    # --- in -----------------------------------------------------------------------------------

    def _take_in(self, member: Member, answer: Answer) -> None:
        if isinstance(answer, Parcel):
            self._receive(member, answer)
        elif isinstance(answer, Lost):
            self._redo(member, answer.why)
        self._progress.in_flight = self._in_flight()
        self._watch.report(self._progress)

    def _take_what_is_there(self) -> None:
        """After an interrupt, take in the answers that have arrived: they are finished work."""
        with suppress(BackendError):
            while came := self._crew.wait(0.0):
                self._take_in(*came)

    def _receive(self, member: Member, parcel: Parcel) -> None:
        keys = [record.key for record in parcel.records]
        keys += [failure.key for failure in parcel.failures]
        keys += [work.key for work in parcel.given_back]
        if len(set(keys)) < len(keys) or not member.held.keys() >= set(keys):
            raise BackendError(f"{member.name} sent work that it was not given, or twice")
        for key in keys:
            del member.held[key]
        self._put_back(parcel.given_back)
        self._sink.write(parcel.records, parcel.failures)
        self._count(member, parcel)
        if (parcel.idle or parcel.ended) and member.held:
            lost = ", ".join(str(key) for key in list(member.held)[:3])
            raise BackendError(f"the session of {member.name} lost {len(member.held)}: {lost}, …")
        member.rows, member.ended = parcel.rows, parcel.ended
        for decision in parcel.decisions:
            said = f"worker {member.number}: {decision.detail}"
            self._watch.decided(attrs.evolve(decision, detail=said))

    def _redo(self, member: Member, why: str) -> None:
        """Give a lost worker's work to the others.

        Work with which several workers were lost is done alone, so that one problem that no machine
        can hold does not take others down with it.
        """
        before = self._rows() + (member.rows if member.hello is not None else 0)
        work, alone = list(member.held.values()), len(member.held) == 1
        member.held.clear()
        again = []
        for item in work:
            self._losses[item.key] += 1
            losses = self._losses[item.key]
            if alone and losses > _SUSPECT:
                self._fail(item, f"{losses} workers were lost with it, the last {why}")
            elif losses >= _SUSPECT:
                self._suspects.append(item)
            else:
                again.append(item)
        self._put_back(again)
        redone = f"; others get {count(len(work), 'problem')}" if work else ""
        detail = f"{member.name}: {why}{redone}"
        self._watch.decided(Decision(max(1, before), max(1, self._rows()), LOST_WORKER, detail))

    def _fail(self, work: Work, detail: str) -> None:
        failure = Failure(work.key, work.problem.statement_hash, LOST_WORKER, detail)
        self._sink.write((), (failure,))
        self._progress.count((), (failure,))

    def _put_back(self, work: tuple[Work, ...] | list[Work]) -> None:
        self._pending.put_back(work)
        self._left += len(work)

    # --- counts -------------------------------------------------------------------------------

    def _count(self, member: Member, parcel: Parcel) -> None:
        progress, before, now = self._progress, member.progress, parcel.progress
        progress.count(parcel.records, parcel.failures)
        progress.prompt_tokens += now.prompt_tokens - before.prompt_tokens
        progress.new_tokens += now.new_tokens - before.new_tokens
        progress.out_of_memory += now.out_of_memory - before.out_of_memory
        member.progress = now
        if now.last is not None and now.last is not before.last:
            seen = now.last
            if seen.phase == "generate" and not seen.out_of_memory:
                # The rows over time are those of all workers.
                seen = attrs.evolve(seen, rows=self._working_rows(member, seen.rows))
            progress.last = seen

    def _working_rows(self, member: Member, rows: int) -> int:
        others = [m for m in self._crew.ready if m is not member and m.held]
        return rows + sum(
            m.progress.last.rows
            for m in others
            if m.progress.last is not None and m.progress.last.phase == "generate"
        )

    def _in_flight(self) -> InFlight:
        parts = [m.progress.in_flight for m in self._crew.ready if m.held]
        return InFlight(
            sum(part.rows for part in parts),
            sum(part.given_tokens for part in parts),
            sum(part.tokens for part in parts),
        )

    def _rows(self) -> int:
        return sum(member.rows for member in self._crew.ready)
