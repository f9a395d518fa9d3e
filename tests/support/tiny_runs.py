"""Extractions with a model of a few thousand weights, whose files a test changes between them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from hf_checkpoints import CHAT

from rjepa_adapters.lmdb_store.metadata import write_identity, write_sidecar
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.domain.identity import Identity
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.extraction.report import warnings_of
from rjepa_core.extraction.run import open_extraction
from rjepa_core.plugins.locate import open_store
from rjepa_core.settings.extraction import (
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    RunSettings,
    SamplingSettings,
    StoreSettings,
)

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "written_by_0_1" / "checkpoint"
DATED = "{{ '<|im_start|>system\nToday is ' + strftime_now('%d %B %Y') + '.<|im_end|>\n' }}" + CHAT


@attrs.define
class TinyRuns:
    """A checkpoint, problems and stores in a folder of their own."""

    place: Path

    @classmethod
    def make(cls, place: Path) -> TinyRuns:
        shutil.copytree(CHECKPOINT, place / "checkpoint")
        rows = [
            {"id": f"p{n}", "question": f"Ann has {n} pears and eats {n // 2}. How many are left?"}
            for n in range(3, 9)
        ]
        (place / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = [{**row, "solution": "She eats some.\nThe rest is left."} for row in rows]
        (place / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
        return cls(place)

    def settings(self, store: str, limit: int, **more: Any) -> ExtractionSettings:
        given = more.get("given", False)
        file = str(
            more.get("traces") or self.place / ("given.jsonl" if given else "problems.jsonl")
        )
        problems = {"traces" if given or "traces" in more else "sources": (file,)}
        return ExtractionSettings(
            model=ModelSettings(name=str(self.place / "checkpoint"), device="cpu"),
            store=StoreSettings(path=str(self.place / store)),
            problems=ProblemSettings(limit=limit, **problems),
            prompt=PromptSettings(date=more.get("date")),
            sampling=SamplingSettings(max_new_tokens=12),
            encoding=EncodingSettings(layers=(1,)),
            run=RunSettings(resume=True),
        )

    def run(self, store: str = "store", limit: int = 2, **more: Any) -> list[str]:
        """Extract; the warnings of the run."""
        settings = self.settings(store, limit, **more)
        with open_extraction(settings) as extraction:
            found = warnings_of(extraction, settings)
            extraction.run()
        return found

    def identity(self, store: str = "store") -> Identity:
        with open_store(str(self.place / store)) as opened:
            assert opened.identity is not None
            return opened.identity

    def records(self, store: str = "store") -> dict[str, LatentRecord]:
        with open_store(str(self.place / store)) as opened:
            return {str(key): opened.get(key) for key in opened.keys()}  # noqa: SIM118

    def age(self, store: str = "store") -> None:
        """Make a store one that an older version wrote: its identity lacks all later fields."""
        told = self.identity(store).to_json()
        for part, keys in (
            (told["space"], ("tokenizer",)),
            (told["space"]["prompt"], ("date",)),
            (told["generation"], ("end_ids", "sampler")),
        ):
            for key in keys:
                part.pop(key, None)
        identity = Identity.from_json(told)
        with LmdbStore(str(self.place / store), "write") as opened:
            environment = opened._environment
            environment.write(lambda txn: write_identity(environment, txn, identity))
        write_sidecar(self.place / store, identity)

    def change(self, file: str, change: Callable[[dict[str, Any]], object], **how: Any) -> None:
        """Rewrite a JSON file of the checkpoint."""
        path = self.place / "checkpoint" / file
        state = json.loads(path.read_text(encoding="utf-8"))
        change(state)
        path.write_text(json.dumps(state, **how), encoding="utf-8")

    def template(self, text: str) -> None:
        """Give the checkpoint a chat template."""
        (self.place / "checkpoint" / "chat_template.jinja").write_text(text, encoding="utf-8")
