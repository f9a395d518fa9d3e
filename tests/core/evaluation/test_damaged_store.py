"""Damaged solutions for a verifier are those of an evaluation, made once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from evaluation_stores import encode_solutions, make_run, make_store, registry

from rjepa_core.domain.grade import RIGHT, WRONG, Grade
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.domain.provenance import OF, OF_PROBLEM
from rjepa_core.errors import InputError, SettingsError, UsageError
from rjepa_core.evaluation import (
    Damaged,
    DamageRunSettings,
    DamageSettings,
    EvaluateRunSettings,
    EvaluateSettings,
    EvaluationWatch,
    damage_store,
    evaluate,
)
from rjepa_core.plugins.locate import open_store
from rjepa_core.ports.store import KeepsGrades
from rjepa_core.settings import DAMAGE, EDITS, AdapterSettings, ModelSettings

SEEDED = AdapterSettings(name="seeded")


def damaged(
    store: str, model: str | None = "m", watch: EvaluationWatch | None = None, **changes: Any
) -> Damaged:
    settings = DamageRunSettings(
        damage=DamageSettings(**{"problems": 4, **changes}),
        model=None if model is None else ModelSettings(name=model),
        backend=SEEDED,
    )
    return damage_store(store, settings, registry(), watch)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return make_store(tmp_path)


def test_all_kinds_and_the_unchanged_ones(store: str) -> None:
    done = damaged(store)
    assert done.location == f"{store}.damage-train"
    assert set(done.kinds) <= {"clean", *DAMAGE, *EDITS}
    assert {"clean", "result", "operation", "order", "omission"} <= set(done.kinds)
    assert done.failed == 0
    own, sibling = open_store(store), open_store(done.location)
    # The store keeps log-probabilities: so do they, and the unchanged ones are there all the same.
    assert sibling.identity is not None
    assert sibling.identity.logprobs
    assert len(sibling) == sum(done.kinds.values())
    statements = {str(key): entry.statement_hash for key, entry in own.entries()}
    for key in sibling.keys():  # noqa: SIM118
        metadata = sibling.get(key).trace.metadata
        assert metadata[OF_PROBLEM] == statements[metadata[OF]]
        assert split_of(metadata[OF_PROBLEM]) is Split.TRAIN
    own.close()
    sibling.close()


def test_it_goes_on_and_grows(store: str) -> None:
    with pytest.raises(UsageError, match=r"damage-train lacks \d+ damaged .*set model\.name"):
        damaged(store, model=None)
    few = damaged(store, problems=2, kinds=("result",))
    assert few.kinds["result"] == 2
    assert "order" not in few.kinds
    # What is there is not read again; without anything missing, no LLM is needed.
    assert damaged(store, model=None, problems=2, kinds=("result",)) == few
    more = damaged(store)
    assert more.kinds["result"] == 4
    assert len(open_store(more.location)) == sum(more.kinds.values())


def test_wrong_solutions_are_not_taken_for_correct(store: str) -> None:
    whole = damaged(store, problems=100).kinds["clean"]
    with open_store(store, "write") as opened:
        assert isinstance(opened, KeepsGrades)
        keys = list(opened.keys())
        wrong = {key for i, key in enumerate(keys) if i % 3}
        opened.write_grades(
            [Grade(key, WRONG if key in wrong else RIGHT, "", "1", "exact", "1") for key in keys]
        )
    # The sibling keeps what was made before; what is planned now is counted.
    said: list[str] = []
    done = damaged(store, problems=100, watch=EvaluationWatch(warn=said.append))
    assert 0 < done.kinds["clean"] < whole
    with open_store(done.location) as sibling:
        assert done.others == len(sibling) - sum(done.kinds.values())
    (line,) = said
    assert f"also holds {done.others:,} solutions of an earlier choice" in line
    assert "Delete that store" in line
    place = Path(f"{store}.damage-train")
    shutil.rmtree(place)
    damaged(store, problems=100)
    with open_store(str(place)) as sibling:
        made_from = {sibling.get(key).trace.metadata[OF] for key in sibling.keys()}  # noqa: SIM118
    assert not made_from & set(map(str, wrong))


def test_an_evaluation_finds_them(store: str, tmp_path: Path) -> None:
    damaged(store, split="test", kinds=("result", "order"), problems=6)
    settings = EvaluateRunSettings(
        evaluate=EvaluateSettings(
            world_models=make_run(store, tmp_path / "run"),
            stores=store,
            parts="damage",
            damage=("result", "order"),
            damaged=6,
            draws=10,
        ),
        backend=SEEDED,
    )
    # No LLM is named.
    assert evaluate(settings, registry()).tables


def test_nothing_to_damage(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(
        "".join(
            f'{{"question": "Is it {i}?", "solution": "Perhaps\\nOr {i} not"}}\n' for i in range(60)
        )
    )
    store = encode_solutions(tmp_path / "s.jsonl", tmp_path / "s")
    with pytest.raises(InputError, match="no solution of the train part can be damaged"):
        damaged(store)
    assert not (tmp_path / "s.damage-train").exists()


@pytest.mark.parametrize("change", [{"split": "dev"}, {"kinds": ("slip",)}, {"problems": 0}])
def test_settings_that_are_none(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, SettingsError)):
        DamageSettings(**change)
