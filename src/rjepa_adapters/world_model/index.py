"""Which records of which stores a world model reads: found once, without texts or vectors."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.identity import LatentSpace
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.domain.trace import RecordKey, Trace
from rjepa_core.errors import UsageError
from rjepa_core.plugins import Registry, open_store
from rjepa_core.ports.store import Snapshot
from rjepa_core.settings import DataSettings
from rjepa_core.text import count
from rjepa_core.training.labels import OTHER_KIND, REASONS, UNGRADED, UNLABELLED, label_of

from .spaces import check_distinct, choose_layer
from .supervision import Labeller, Supervised, Supervision

Ints = NDArray[np.int32]
_HASH_DIGITS = 16


@attrs.frozen
class StorePart:
    """One of the stores that are read.

    Attributes:
        location: as it was named.
        layers: L, how many its records hold.
        layer: position of the chosen one among them.
    """

    location: str
    layers: int
    layer: int


@attrs.frozen(eq=False)
class Keys:
    """Record keys in three arrays: 200,000 take some megabytes, not a hundred.

    Attributes:
        ids: uint8, all problem ids, one behind the other.
        stops: uint32 or uint64 [N], where each id ends.
        samples: int32 [N], the sample indices.
    """

    ids: NDArray[np.uint8]
    stops: NDArray[Any]
    samples: Ints

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> RecordKey:
        begin = int(self.stops[index - 1]) if index else 0
        raw = self.ids[begin : int(self.stops[index])].tobytes()
        return RecordKey(raw.decode("utf-8", "surrogatepass"), int(self.samples[index]))

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return self.ids.nbytes + self.stops.nbytes + self.samples.nbytes


@attrs.frozen(eq=False)
class Index:
    """The records that are read, in the order of their stores; N of them.

    Attributes:
        stores: where they are.
        space: latent space of all, with the chosen layer alone.
        steps: int32 [N], S of each.
        problem: int32 [N], equal where the statement is; numbered from 0 by its hash, so that the
            numbers depend on the set of problems alone.
        domains: names, where they were asked for.
        domain: int16 [N], each record's place in `domains`; all 0 where they were not asked for.
        first: int64 [stores + 1], at which record each store begins.
        keys: N record keys.
        too_long: records that have more steps than are read.
        supervision: labels of all, where they were asked for.
        unused: records without a label that is used, by reason, where labels were asked for.
    """

    stores: tuple[StorePart, ...]
    space: LatentSpace
    steps: Ints
    problem: Ints
    domains: tuple[str, ...]
    domain: NDArray[np.int16]
    first: NDArray[np.int64]
    keys: Keys
    too_long: int = 0
    supervision: Supervision | None = None
    unused: Mapping[str, int] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def hidden_size(self) -> int:
        """D."""
        return self.space.hidden_size

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays take."""
        arrays = (self.steps, self.problem, self.domain, self.first)
        return self.keys.nbytes + sum(a.nbytes for a in arrays)

    def store_of(self, index: int) -> int:
        """Position in `stores` of a record's store."""
        return int(np.searchsorted(self.first, index, side="right")) - 1

    def key(self, index: int) -> tuple[int, RecordKey]:
        """Position in `stores`, and the record's key there."""
        return self.store_of(index), self.keys[index]


def open_index(
    data: DataSettings,
    split: Split | None,
    with_domains: bool = False,
    domains: Sequence[str] | None = None,
    registry: Registry | None = None,
    most_steps: int | None = None,
    with_labels: bool = False,
) -> Index:
    """Find the records of one part of the problems.

    Texts are read only where a filter by domain or correctness, `with_domains` or `with_labels`
    needs them.

    Args:
        data: stores, layer and filters.
        split: the part, or None for all of them.
        with_domains: find each record's domain.
        domains: the domains that a trained model knows, in its order; another one is refused. None
            takes those that are found, sorted.
        registry: to find the stores' adapters in.
        most_steps: of the longest trace that is read; None reads all.
        with_labels: use the labelled records alone, with their labels; a solution that was made
            from another one is of that one's problem.

    Raises:
        UsageError: no store is named, a store is empty, or nothing is left to read; the message
            says how many records each filter took.
        IdentityError: the stores are of several latent spaces; the message names the settings.
    """
    if not data.stores:
        raise UsageError("data.stores: no store to read; name one")
    registry = registry or Registry()
    found = _Found(with_domains or bool(domains), Supervised() if with_labels else None)
    check_distinct(data.stores)
    with ExitStack() as stack:
        stores = []
        for location in data.stores:
            stores.append(open_store(location, "read", registry))
            stack.callback(stores[-1].close)
        places, space = choose_layer(data, stores)
        parts = tuple(
            StorePart(location, *place) for location, place in zip(data.stores, places, strict=True)
        )
        for store, part in zip(stores, parts, strict=True):
            found.begin_store()
            with store.snapshot() as snapshot:
                labeller = Labeller(store, snapshot, data) if with_labels else None
                _scan(snapshot, part.location, data, split, found, most_steps, labeller)
    if not len(found.steps):
        raise UsageError(_nothing_left(data, split, found))
    return found.index(parts, space, domains)


@attrs.define
class _Found:
    """Records as they are found, in plain buffers."""

    reads_domains: bool
    supervised: Supervised | None = None
    ids: bytearray = attrs.field(factory=bytearray)
    stops: array[int] = attrs.field(factory=lambda: array("Q"))
    samples: array[int] = attrs.field(factory=lambda: array("i"))
    steps: array[int] = attrs.field(factory=lambda: array("i"))
    hashes: array[int] = attrs.field(factory=lambda: array("Q"))
    domain: array[int] = attrs.field(factory=lambda: array("h"))
    names: dict[str, int] = attrs.field(factory=dict)
    first: list[int] = attrs.field(factory=list)
    total: int = 0
    longest: int = 0
    taken: Counter[str] = attrs.field(factory=Counter)
    statements: set[str] = attrs.field(factory=set)

    def begin_store(self) -> None:
        self.first.append(len(self.steps))

    def add(self, key: RecordKey, statement_hash: str, steps: int, domain: str) -> None:
        self.ids += key.problem_id.encode("utf-8", "surrogatepass")
        self.stops.append(len(self.ids))
        self.samples.append(key.sample)
        self.steps.append(steps)
        self.hashes.append(int(statement_hash[:_HASH_DIGITS], 16))
        self.domain.append(self.names.setdefault(domain, len(self.names)))

    def index(
        self, parts: tuple[StorePart, ...], space: LatentSpace, known: Sequence[str] | None
    ) -> Index:
        _, problem = np.unique(np.frombuffer(self.hashes, np.uint64), return_inverse=True)
        names = tuple(sorted(self.names) if known is None else known) if self.reads_domains else ()
        strange = sorted(set(self.names) - set(names)) if self.reads_domains else []
        if strange:
            raise UsageError(
                f"data.domains: the world model was not trained on domain {strange[0]!r}; it knows "
                f"{', '.join(names)}; leave the others out with data.domains"
            )
        place = np.array([names.index(n) if names else 0 for n in self.names], np.int16)
        width = np.uint32 if len(self.ids) < 2**32 else np.uint64
        return Index(
            stores=parts,
            space=space,
            steps=np.array(self.steps, np.int32),
            problem=problem.astype(np.int32),
            domains=names,
            domain=place[np.frombuffer(self.domain, np.int16)],
            first=np.array([*self.first, len(self.steps)], np.int64),
            keys=Keys(
                np.frombuffer(bytes(self.ids), np.uint8),
                np.frombuffer(self.stops, np.uint64).astype(width),
                np.array(self.samples, np.int32),
            ),
            too_long=self.taken["long"],
            supervision=None if self.supervised is None else self.supervised.done(),
            unused={reason: self.taken[reason] for reason in REASONS if self.taken[reason]},
        )


def _scan(
    snapshot: Snapshot,
    where: str,
    data: DataSettings,
    split: Split | None,
    found: _Found,
    most_steps: int | None,
    labeller: Labeller | None,
) -> None:
    """Add a store's records that pass all filters; those that need no text come first."""
    reads = found.reads_domains or bool(data.domains) or data.correct is not None
    before = found.total
    for key, entry in snapshot.entries():
        found.total += 1
        found.longest = max(found.longest, entry.steps)
        if len(found.statements) < 2:
            found.statements.add(entry.statement_hash)
        problem, domain = entry.statement_hash, ""
        reason: str | None = None
        if entry.steps < data.min_steps:
            reason = "short"
        elif labeller is None and _is_elsewhere(problem, split):
            reason = "split"
        elif most_steps is not None and entry.steps > most_steps:
            reason = "long"
        elif reads or labeller is not None:
            record = snapshot.get(key)
            domain = record.trace.problem.domain
            reason = _unwanted(data, record.trace)
            if labeller is not None and not reason:
                problem = labeller.problem_of(record.trace)
                labels = labeller.labels(key, record, entry.steps)
                if _is_elsewhere(problem, split):
                    reason = "split"
                elif isinstance(labels, str):
                    reason = labels
                elif found.supervised is not None:
                    found.supervised.add(labels, record.logprobs)
        if reason:
            found.taken[reason] += 1
        else:
            found.add(key, problem, entry.steps, domain)
    if found.total == before:
        raise UsageError(f"{where}: the store is empty; extract into it first, or leave it out")


def _is_elsewhere(problem: str, split: Split | None) -> bool:
    return split is not None and split_of(problem) is not split


def _unwanted(data: DataSettings, trace: Trace) -> str | None:
    """The filter that takes a record away, if one does."""
    if data.domains and trace.problem.domain not in data.domains:
        return "domain"
    if data.correct is None:
        return None
    said = label_of(trace)
    if said is None:
        return "unlabelled"
    return None if said is data.correct else "correct"


def _nothing_left(data: DataSettings, split: Split | None, found: _Found) -> str:
    """Why no record is left, and what to do."""
    where = ", ".join(data.stores)
    if found.taken["short"] == found.total:
        only = "only one-step traces" if found.longest <= 1 else f"at most {found.longest} steps"
        return (
            f"{where}: {only} in {count(found.total, 'record')}, and data.min_steps asks for "
            f"{data.min_steps}; a step is predicted from other steps: extract longer solutions, or "
            "cut them finer (steps.strategy)"
        )
    part = split.value if split is not None else ""
    words = {
        "short": f"have fewer than {data.min_steps} steps (data.min_steps)",
        "split": f"are not in the {part} part",
        "long": "have more steps than a world model takes",
        "domain": f"are of other domains than {', '.join(data.domains)} (data.domains)",
        "unlabelled": "have no label `correct` (data.correct)",
        "correct": f"are labelled {'wrong' if data.correct else 'correct'} (data.correct)",
        UNLABELLED: "do not say whether they are right",
        UNGRADED: "could not be graded",
        OTHER_KIND: f"are damaged in other ways than {', '.join(data.damage)} (data.damage)",
    }
    took = "; ".join(f"{found.taken[k]:,} {text}" for k, text in words.items() if found.taken[k])
    advice = "loosen a filter or add a store"
    if found.taken[UNLABELLED] + found.taken[UNGRADED]:
        advice = (
            "grade the store, name one of labelled solutions, or have solutions of it damaged and "
            "name the store that they are in"
        )
    elif found.supervised is not None and found.taken["split"]:
        advice = f"add a store with labelled or damaged solutions of the {part} part"
    elif found.taken["split"] == found.total:
        advice = f"about one problem in ten is in the {part} part, so take more problems"
        if part == "train":
            advice = "add a store with other problems"
    if len(found.statements) == 1 and found.total > 1:
        advice = "all records have the same statement: import them again with their problems"
    return f"{where}: nothing is left of {count(found.total, 'record')}: {took}; {advice}"
