"""Schedulers and queues that break one promise each. Not collected: `test_mutants.py` runs this."""

from __future__ import annotations

import attrs

from rjepa_adapters.schedulers.adaptive import AdaptiveScheduler, AdaptiveSettings
from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.extraction.queue import Pending
from rjepa_core.testing.queue_suite import QueueContract
from rjepa_core.testing.scheduler_suite import SchedulerContract


class Suite(SchedulerContract):
    made = FixedScheduler

    def make(self):
        return self.made(FixedSettings(batch_size=8))


class Adaptive(SchedulerContract):
    made = AdaptiveScheduler

    def make(self):
        return self.made(AdaptiveSettings())


class TestSound(Suite):
    """No mutant: the suite must pass."""


class TestAdaptiveSound(Adaptive):
    """Nor this one."""


class TestLosesTheRowsInFlight(Suite):
    class made(FixedScheduler):
        def room(self, in_flight):
            return super().room(attrs.evolve(in_flight, rows=0))


class TestLosesADecision(Adaptive):
    class made(AdaptiveScheduler):
        def changes(self):
            return tuple(d for d in super().changes() if d.reason != "out of memory")


class TestRepeatsTheSameBatch(Suite):
    """What did not fit is tried again as it is."""

    class made(FixedScheduler):
        def observe(self, observation):
            if not observation.out_of_memory:
                super().observe(observation)


class TestRepeatsADecision(Adaptive):
    class made(AdaptiveScheduler):
        def changes(self):
            self._told = getattr(self, "_told", ()) + super().changes()
            return self._told


class TestStallsAfterOutOfMemory(Suite):
    class made(FixedScheduler):
        def observe(self, observation):
            super().observe(observation)
            if observation.out_of_memory:
                self._size = self._retry_size = 0


class TestStallsOfEncoding(Suite):
    class made(FixedScheduler):
        def observe(self, observation):
            super().observe(observation)
            if observation.phase == "encode" and observation.out_of_memory:
                self._encode_tokens = 0


class TestDecidesByChance(Suite):
    class made(FixedScheduler):
        made = 0

        def __init__(self, settings):
            super().__init__(settings)
            type(self).made += 1
            self._retry_size += type(self).made % 2


class TestLowersTheWrongSide(Suite):
    """Out of memory in `encode` makes the generated batches smaller."""

    class made(FixedScheduler):
        def observe(self, observation):
            super().observe(attrs.evolve(observation, phase="generate"))


class Queue(QueueContract):
    made = Pending

    def make(self, work):
        return self.made(work)


class TestQueueSound(Queue):
    """No mutant."""


class TestQueueLosesWhatIsPutBack(Queue):
    class made(Pending):
        def put_back(self, work):
            super().put_back(work[1:])


class TestQueueLosesTheLast(Queue):
    class made(Pending):
        def take(self, room, cost, at_least_one=False):
            taken = super().take(room, cost, at_least_one)
            return taken[:-1] if len(taken) > 2 else taken


class TestQueueRepeats(Queue):
    """What two workers took at once is done twice."""

    class made(Pending):
        def take(self, room, cost, at_least_one=False):
            taken = super().take(room, cost, at_least_one)
            if taken and not getattr(self, "repeated", False):
                self.repeated = True
                self.put_back(taken[:1])
            return taken


class TestQueueStalls(Queue):
    """A problem larger than the room is never given."""

    class made(Pending):
        def take(self, room, cost, at_least_one=False):
            return super().take(room, cost)


class TestQueueHoldsForever(Queue):
    class made(Pending):
        def __bool__(self):
            return True


class TestQueueOverfills(Queue):
    class made(Pending):
        def take(self, room, cost, at_least_one=False):
            return super().take(attrs.evolve(room, tokens=None), cost, at_least_one)
