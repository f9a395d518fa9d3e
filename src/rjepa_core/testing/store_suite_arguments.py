"""A store's promises about invalid arguments: each error says which one and why."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from ..domain.identity import Identity
from ..domain.trace import RecordKey
from ..errors import ArgumentError
from ..ports.store import LatentStore
from .promises import raises
from .samples import (
    Open,
    StoreCase,
    TmpPath,
    assert_same,
    sample_failure,
    sample_identity,
    sample_record,
)


def _unchecked(problem_id: str, sample: object) -> RecordKey:
    """Return a key whose sample is not checked when it is made."""
    key = RecordKey(problem_id)
    object.__setattr__(key, "sample", sample)
    return key


class ArgumentsContract(StoreCase):
    """Invalid arguments are refused."""

    @pytest.mark.parametrize(
        ("latents", "prompts", "message"),
        [
            (((1, 1, 3, 8), "int16"), None, "latents: got dtype int16, expected a float dtype"),
            (((1, 1, 3, 8), "bool"), None, "latents: got dtype bool"),
            (((1, 1, 3, 8), "S4"), None, r"latents: got dtype \|S4"),
            (((1, 1, 3, 8), "complex64"), None, "latents: got dtype complex64"),
            (((1, 3, 8), "f4"), None, r"latents: got shape \[1, 3, 8\], expected \[B, L, S, D\]"),
            (((), "f4"), None, r"latents: got shape \[\], expected \[B, L, S, D\]"),
            (((0, 1, 3, 8), "f4"), None, "latents: got 0 rows, expected at least 1"),
            (((1, 1, 2, 8), "f4"), None, r"latents: got rows \[1, 2, 8\], .* \[1, 3, 8\]"),
            (((1, 1, 3, 8), "f4"), ((1, 1, 8), "int64"), "prompts: got dtype int64"),
            (((1, 1, 3, 8), "f4"), ((1, 8), "f4"), r"prompts: got shape \[1, 8\], .* L, D\]"),
            (((1, 1, 3, 8), "f4"), ((0, 1, 8), "f4"), "prompts: got 0 rows, expected at least 1"),
            (((1, 1, 3, 8), "f4"), ((1, 2, 8), "f4"), r"prompts: got .* \[B, 1, 8\]"),
            (((1, 1, 3, 8), "f4"), ((1, 1, 1), "f4"), r"prompts: got .* \[B, 1, 8\]"),
        ],
    )
    def test_invalid_buffers_are_refused(
        self,
        store: LatentStore,
        identity: Identity,
        latents: tuple[tuple[int, ...], str],
        prompts: tuple[tuple[int, ...], str] | None,
        message: str,
    ) -> None:
        record = sample_record(identity, steps=3)
        store.write([record])
        store.commit()
        buffers = [np.zeros(*buffer) if buffer else None for buffer in (latents, prompts)]
        with store.snapshot() as snapshot:
            for read in (store.read_latents, snapshot.read_latents):
                with raises(ArgumentError, "an invalid buffer is refused", match=message):
                    read([record.key], *buffers)  # type: ignore[arg-type]

    def test_unusual_buffers(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity, steps=3)
        store.write([record])
        store.commit()
        fixed = np.zeros((1, 1, 3, 8))
        fixed.flags.writeable = False
        with raises(
            ArgumentError,
            "a buffer that cannot be written is refused",
            match="latents: got an array that cannot be written",
        ):
            store.read_latents([record.key], fixed)
        with raises(
            ArgumentError,
            "a list is not a buffer",
            match="latents: got list, expected a numpy array",
        ):
            store.read_latents([record.key], fixed.tolist())
        whole = np.zeros((2, 2, 5, 16))
        part = whole[::2, :1, ::-1, ::2]
        store.read_latents(iter([record.key]), part)  # type: ignore[arg-type]
        assert (part[0, :, :3] == record.latents).all(), "a view with steps is a buffer as well"
        empty = store.read_latents([], np.zeros((0, 1, 3, 8)), np.zeros((0, 1, 8)))
        assert empty.dtype == np.int64, "steps are int64"
        assert not len(empty), "no keys, no steps"

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("p-0", r"got 'p-0', expected a RecordKey\(problem_id, sample\)"),
            (None, "got None, expected a RecordKey"),
            (["p-0", 0], "got .'p-0', 0., expected a RecordKey"),
            (RecordKey("p-0", -1), "its sample is -1, expected an integer from 0 to 4294967295"),
            (RecordKey("p-0", 2**32), "its sample is 4294967296"),
            (_unchecked("p-0", 0.0), "its sample is 0.0"),
            (_unchecked("p-0", "0"), "its sample is '0'"),
            (RecordKey(b"p-0"), "its problem_id is b'p-0', expected a string"),  # type: ignore[arg-type]
            (RecordKey(7), "its problem_id is 7"),  # type: ignore[arg-type]
        ],
        ids=repr,
    )
    def test_invalid_keys_are_refused(
        self, store: LatentStore, identity: Identity, key: Any, message: str
    ) -> None:
        good = sample_record(identity)
        store.write([good])
        store.commit()
        buffer = np.zeros((2, 1, 3, 8), np.float16)
        with store.snapshot() as snapshot:
            for use in (store.get, store.entry, snapshot.get):
                with raises(ArgumentError, "an invalid key is refused", match=f"^key: {message}"):
                    use(key)
            for read in (store.read_latents, snapshot.read_latents):
                with raises(
                    ArgumentError, "an invalid key is refused", match=rf"^keys\[1\]: {message}"
                ):
                    read([good.key, key], buffer)
        with raises(ArgumentError, "an invalid key is refused", match=rf"^keys\[1\]: {message}"):
            store.delete([good.key, key])
        assert len(store) == 1, "a refused removal changes nothing"

    def test_one_key_is_not_several(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity)
        store.write([record])
        store.commit()
        key: Any = record.key
        with raises(
            ArgumentError,
            "one key is not several",
            match=r"^keys: got RecordKey\(.*several RecordKeys",
        ):
            store.read_latents(key, np.zeros((1, 1, 3, 8)))
        with raises(
            ArgumentError,
            "one key is not several",
            match=r"^keys: got RecordKey\(.*several RecordKeys",
        ):
            store.delete(key)
        numbered = RecordKey("p-0", np.int64(0))  # type: ignore[arg-type]
        assert_same(store.get(numbered), record, "a sample may be a numpy integer")
        fourth = sample_record(identity, "p-0", 4)
        of_numpy: list[Any] = [np.int64(4), np.int64(5)]
        trace = attrs.evolve(fourth.trace, sample=of_numpy[0])
        store.write([attrs.evolve(fourth, trace=trace)], [sample_failure("f", of_numpy[1])])
        store.commit()
        assert store.get(RecordKey("p-0", 4)).trace.problem == fourth.trace.problem, (
            "a sample that is a numpy integer is stored like any other"
        )
        assert [failure.key for failure in store.failures()] == [RecordKey("f", 5)], (
            "a failure's sample may be a numpy integer"
        )

    @pytest.mark.parametrize("mode", ["rw", "r", "", None, True])
    def test_invalid_modes_are_refused(
        self, store: LatentStore, open_store: Open, tmp_path: TmpPath, mode: Any
    ) -> None:
        store.close()
        for name in ("a", "new"):
            with raises(
                ArgumentError,
                "an invalid mode is refused",
                match=f"^mode: got {mode!r}, expected 'read' or",
            ):
                open_store(mode, name)
        assert not self.adapter.exists(self.where(tmp_path, "new")), "no store was made"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    @pytest.mark.parametrize("where", ["latents", "prompt_latent", "logprobs"])
    def test_values_that_are_not_finite_are_refused(
        self, open_store: Open, value: float, dtype: str, where: str
    ) -> None:
        identity = sample_identity(dtype=dtype, logprobs=True)
        store = open_store()
        store.begin(identity)
        good, bad = sample_record(identity, "good"), sample_record(identity, "bad", 2)
        getattr(bad, where)[(-1,) * getattr(bad, where).ndim] = value
        with raises(
            ArgumentError,
            "what is written is checked: NaN and infinite values are refused",
            match=r"^bad#2: .* NaN or infinite",
        ):
            store.write([good, bad])
        assert len(store) == 0, "a refused batch leaves nothing"

    @pytest.mark.parametrize("spans", [0, 2, 4])
    @pytest.mark.parametrize("texts", [0, 2, 3, 4])
    def test_one_vector_per_step(
        self, store: LatentStore, identity: Identity, spans: int, texts: int
    ) -> None:
        more, record = sample_record(identity, steps=4).trace, sample_record(identity, "bad")
        trace = attrs.evolve(
            record.trace, spans=more.spans[:spans], step_texts=more.step_texts[:texts]
        )
        with raises(
            ArgumentError,
            "what is written is checked: there is one vector per step",
            match=f"^bad: 3 step vectors, but {spans} spans and",
        ):
            store.write([attrs.evolve(record, trace=trace)])
        fewer = attrs.evolve(record.trace, step_texts=record.trace.step_texts[:2])
        with raises(
            ArgumentError,
            "what is written is checked: there is one text per step",
            match=r"^bad: 3 step vectors, but 3 spans and 2 texts",
        ):
            store.write([attrs.evolve(record, trace=fewer)])
        assert len(store) == 0, "a refused batch leaves nothing"

    @pytest.mark.parametrize("texts", [0, 3])
    def test_an_imported_trace_may_lack_its_spans(
        self, store: LatentStore, identity: Identity, texts: int
    ) -> None:
        record = sample_record(identity)
        bare = attrs.evolve(
            record.trace,
            completion_ids=record.trace.completion_ids[:0],
            spans=(),
            step_texts=record.trace.step_texts[:texts],
        )
        record = attrs.evolve(record, trace=bare)
        store.write([record])
        store.commit()
        assert_same(store.get(record.key), record, "a trace without token ids has no spans")

    @pytest.mark.parametrize("sample", [-1, 2**32])
    def test_invalid_samples_are_not_written(
        self, store: LatentStore, identity: Identity, sample: int
    ) -> None:
        record = sample_record(identity, "p")
        bad = attrs.evolve(record, trace=attrs.evolve(record.trace, sample=sample))
        with raises(
            ArgumentError,
            "what is written is checked: a record's sample",
            match=f"record's key: its sample is {sample}",
        ):
            store.write([bad])
        with raises(
            ArgumentError,
            "what is written is checked: a failure's sample",
            match=f"failure's key: its sample is {sample}",
        ):
            store.write([record], [sample_failure("f", sample)])
        assert len(store) == 0, "a refused batch leaves nothing"

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ([1], r"^entry: got \[1\], expected a mapping of JSON values"),
            ("kind", "^entry: got 'kind', expected a mapping"),
            ({"a": {"b": object()}}, "^entry: expected JSON values .*object"),
            ({"a": np.float32(1)}, "^entry: expected JSON values .*float32"),
            ({(1, 2): 1}, "^entry: expected JSON values .*tuple"),
        ],
        ids=["list", "text", "object", "numpy", "tuple key"],
    )
    def test_history_is_json(self, store: LatentStore, entry: Any, message: str) -> None:
        with raises(ArgumentError, "a history entry that is not JSON is refused", match=message):
            store.add_history(entry)
        assert store.history() == [], "a refused entry leaves nothing"
        store.add_history({"b": (1, 2), 3: None})  # type: ignore[dict-item]
        assert store.history() == [{"b": [1, 2], "3": None}], "the history is as JSON reads it back"
