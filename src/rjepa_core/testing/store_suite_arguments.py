"""What a store promises about arguments that it does not take: it says which and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ..errors import ArgumentError
from ..identity import Identity
from ..ports.latent_store import LatentStore
from ..traces import RecordKey
from .samples import sample_record
from .store_case import StoreCase, assert_same


class ArgumentsContract(StoreCase):
    """Nothing that is not meant is taken silently."""

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
    def test_buffers_that_are_none_are_refused(
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
                with pytest.raises(ArgumentError, match=message):
                    read([record.key], *buffers)  # type: ignore[arg-type]

    def test_odd_buffers(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity, steps=3)
        store.write([record])
        store.commit()
        fixed = np.zeros((1, 1, 3, 8))
        fixed.flags.writeable = False
        with pytest.raises(ArgumentError, match="latents: got an array that cannot be written"):
            store.read_latents([record.key], fixed)
        with pytest.raises(ArgumentError, match="latents: got list, expected a numpy array"):
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
            (RecordKey("p-0", 0.0), "its sample is 0.0"),  # type: ignore[arg-type]
            (RecordKey("p-0", "0"), "its sample is '0'"),  # type: ignore[arg-type]
            (RecordKey(b"p-0"), "its problem_id is b'p-0', expected a string"),  # type: ignore[arg-type]
            (RecordKey(7), "its problem_id is 7"),  # type: ignore[arg-type]
        ],
        ids=repr,
    )
    def test_keys_that_are_none_are_refused(
        self, store: LatentStore, identity: Identity, key: Any, message: str
    ) -> None:
        good = sample_record(identity)
        store.write([good])
        store.commit()
        buffer = np.zeros((2, 1, 3, 8), np.float16)
        with store.snapshot() as snapshot:
            for use in (store.get, store.entry, snapshot.get):
                with pytest.raises(ArgumentError, match=f"^key: {message}"):
                    use(key)
            for read in (store.read_latents, snapshot.read_latents):
                with pytest.raises(ArgumentError, match=rf"^keys\[1\]: {message}"):
                    read([good.key, key], buffer)
        with pytest.raises(ArgumentError, match=rf"^keys\[1\]: {message}"):
            store.delete([good.key, key])
        assert len(store) == 1, "a refused removal changes nothing"

    def test_one_key_is_not_several(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity)
        store.write([record])
        store.commit()
        key: Any = record.key
        with pytest.raises(ArgumentError, match=r"^keys: got RecordKey\(.*several RecordKeys"):
            store.read_latents(key, np.zeros((1, 1, 3, 8)))
        with pytest.raises(ArgumentError, match=r"^keys: got RecordKey\(.*several RecordKeys"):
            store.delete(key)
        numbered = RecordKey("p-0", np.int64(0))  # type: ignore[arg-type]
        assert_same(store.get(numbered), record, "a sample may be a number of numpy's")
