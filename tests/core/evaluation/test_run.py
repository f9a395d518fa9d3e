"""The use case over real stores of the seeded backend, with a ridge world model of the port."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import ridge_world_model
from evaluation_stores import (
    encode_solutions,
    make_run,
    make_store,
    registry,
    statement,
    write_labelled,
    write_solutions,
)

from rjepa_core.domain.problem import Split, split_of
from rjepa_core.errors import IdentityError, InputError, UsageError
from rjepa_core.evaluation import (
    EvaluateRunSettings,
    EvaluateSettings,
    Evaluation,
    EvaluationWatch,
    evaluate,
)
from rjepa_core.evaluation.corpus import Corpus
from rjepa_core.plugins.locate import open_store, open_world_model
from rjepa_core.ports.world_model import TargetSpace
from rjepa_core.settings.extraction import AdapterSettings, ModelSettings
from rjepa_core.testing.memory_store import MemoryStore
from rjepa_core.testing.samples import sample_identity, sample_record, told_identity

Made = tuple[Path, str, str]


def run(
    store: str,
    world_model: str,
    model: str | None = "m",
    watch: EvaluationWatch | None = None,
    **asked: Any,
) -> Evaluation:
    usual = {"world_models": (world_model,), "stores": (store,), "draws": 50, "seed": 1}
    settings = EvaluateRunSettings(
        evaluate=EvaluateSettings(**{**usual, **asked}),
        model=None if model is None else ModelSettings(name=model),
        backend=AdapterSettings(name="seeded"),
    )
    return evaluate(settings, registry(), watch)


@pytest.fixture
def own(made: Made, tmp_path: Path) -> tuple[str, str]:
    """A copy of the store, beside which siblings may be made, and the run."""
    shutil.copytree(made[1], tmp_path / "s")
    return str(tmp_path / "s"), made[2]


# what cannot be done


def test_of_one_problem_there_is_nothing_to_rank_among(made: Made, tmp_path: Path) -> None:
    store = make_store(tmp_path, count=7)
    found = run(store, made[2], model=None, parts=("prediction",))
    assert not found.facts["skipped"]
    everything = run(store, made[2], model=None)
    assert list(everything.facts["skipped"]) == ["damage", "probe"]
    table = found.table("prediction/others/1")
    assert table.problems == 1
    assert "top-1" not in table.chance
    _, cells = str(found).rsplit("\n  chance", 1)
    assert cells.split()[:2] == ["–", "–"]
    assert "| chance | – | – |" in found._repr_markdown_()


@pytest.fixture
def short(tmp_path: Path) -> str:
    """A store whose solutions have too few steps to be damaged."""
    rows = [
        {"question": statement(i), "solution": f"It is {i} + 1 = {i + 1}\nTwice is {2 * i + 2}"}
        for i in range(30)
    ]
    (tmp_path / "short.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return encode_solutions(tmp_path / "short.jsonl", tmp_path / "short")


def test_of_all_parts_what_cannot_be_done_is_skipped_and_named(made: Made, short: str) -> None:
    warned: list[str] = []
    found = run(short, made[2], watch=EvaluationWatch(warn=warned.append))
    assert {table.part for table in found.tables} >= {"prediction"}
    reason = "can be damaged: it takes a text of three steps that one of the kinds applies to"
    assert found.facts["skipped"]["damage"].endswith(reason)
    for part in ("prediction", "probe"):
        assert (part in found.facts["skipped"]) != any(t.part == part for t in found.tables)
    assert any(line.startswith("damage skipped: ") for line in warned)
    assert "damage skipped: " in str(found)
    with pytest.raises(InputError, match=r"leave the part out of evaluate\.parts"):
        run(short, made[2], parts=("prediction", "damage"))


def test_of_all_parts_damage_is_skipped_where_no_llm_is_named(own: tuple[str, str]) -> None:
    found = run(*own, model=None)
    assert "set model.name" in found.facts["skipped"]["damage"]
    assert {table.part for table in found.tables} == {"prediction", "probe"}
    with pytest.raises(UsageError, match=r"set model\.name"):
        run(*own, model=None, parts=("damage",))


def test_where_all_parts_are_skipped_it_is_refused(made: Made, tmp_path: Path) -> None:
    store = make_store(tmp_path, count=4)
    with pytest.raises(InputError, match="no problem of its belongs to the test part"):
        run(store, made[2])


# prediction

PREDICTIONS = ["prediction/past/1", "prediction/past/2", "prediction/past/3", "prediction/others/1"]


def test_predictions_from_the_past_first(made: Made) -> None:
    _, store, world_model = made
    found = run(store, world_model, model=None, parts=("prediction",))
    assert [table.name for table in found.tables] == PREDICTIONS
    table = found.table("prediction/others/1")
    assert table.columns == (
        "top-1", "MRR", "error", "explained variance", "top-1 same place", "MRR same place",
    )  # fmt: skip
    assert [line.method for line in table.lines] == [
        "world model",
        "ridge regression",
        "mean of the context",
        "copy of the previous step",
    ]
    with_store = open_store(store)
    entries = [e for _, e in with_store.entries() if split_of(e.statement_hash) is Split.TEST]
    with_store.close()
    assert table.items == sum(e.steps for e in entries if e.steps > 1)
    assert table.problems == len({e.statement_hash for e in entries})
    assert "later latents have read the step" in table.notes[0]
    for table in found.tables:
        # Trained on all, it knows the test part by heart; the baseline saw the training part alone.
        ours, ridge = table.line("world model"), table.line("ridge regression")
        assert ours.figures["error"].value < ridge.figures["error"].value
        difference = ours.differences["ridge regression"]["error"]
        expected = ours.figures["error"].value - ridge.figures["error"].value
        assert difference.value == pytest.approx(expected)
        assert difference.low <= difference.value <= difference.high
        assert any(
            re.fullmatch(r"ridge regression: strength \S+ for ranks and \S+ for errors", note)
            for note in table.notes
        )


def test_the_batch_size_does_not_matter(made: Made) -> None:
    _, store, world_model = made
    one, many = (
        run(store, world_model, parts=("prediction",), batch_size=size).to_json()
        for size in (1, 256)
    )
    for a, b in zip(one["tables"], many["tables"], strict=True):
        for x, y in zip(a["lines"], b["lines"], strict=True):
            for column in ("MRR", "error"):
                first, second = (line["figures"][column]["value"] for line in (x, y))
                assert first == pytest.approx(second, rel=1e-5)


def test_several_world_models_stand_side_by_side(made: Made, tmp_path: Path) -> None:
    _, store, world_model = made
    noisy = [make_run(store, tmp_path / f"noisy-{i}", noise=3.0, seed=i) for i in range(2)]
    found = run(store, "", parts=("prediction",), world_models=(world_model, *noisy))
    table = found.table("prediction/past/1")
    assert [line.method for line in table.lines][:4] == [
        *("world model run", "world model noisy-0", "world model noisy-1"),
        "world model noisy, the worst of 2 seeds",
    ]
    good, worst = table.lines[0], table.lines[3]
    assert good.figures["MRR"].value > worst.figures["MRR"].value + 0.05
    assert worst.of == ("world model noisy-0", "world model noisy-1")
    assert worst.differences["ridge regression"].keys() == worst.figures.keys()
    assert list(found.world_models) == [line.method for line in table.lines[:3]]
    assert [one["seed"] for one in found.world_models.values()] == [0, 0, 1]


def test_folders_of_one_name_are_told_apart(made: Made, tmp_path: Path) -> None:
    _, store, world_model = made
    other = make_run(store, tmp_path / "run", noise=1.0)
    asked = {"parts": ("prediction",), "horizons": 1, "draws": 0}
    found = run(store, "", world_models=(world_model, other), **asked)
    assert list(found.world_models) == [f"world model {world_model}", f"world model {other}"]


def test_how_far_ahead_is_asked_for(made: Made, tmp_path: Path) -> None:
    _, store, world_model = made
    asked = {"parts": ("prediction",), "draws": 0}
    found = run(store, world_model, horizons=(3, 2), **asked)
    assert [table.name for table in found.tables] == PREDICTIONS[1:]
    short = make_run(store, tmp_path / "short", horizon=1)
    found = run(store, short, **asked)
    assert [table.name for table in found.tables] == [PREDICTIONS[0], PREDICTIONS[3]]
    with pytest.raises(UsageError, match=r"horizons: .*short predicts no more than 1 step"):
        run(store, short, horizons=2, **asked)


def test_a_target_space_of_its_own_has_tables_of_its_own(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A space that is the latents' own, turned and scaled, gives the figures of the latents."""
    _, store, world_model = made
    asked = {"parts": ("prediction",), "draws": 0}
    plain = run(store, world_model, **asked)
    of = ridge_world_model.RidgeWorldModel
    info, predict, targets = of.__init__, of.predict, of.targets

    def turned(rows: list[Any]) -> list[Any]:
        return [3.0 * row[:, ::-1] + 5.0 for row in rows]

    def own(self: Any, *args: Any) -> None:
        info(self, *args)
        self.info = attrs.evolve(self.info, target_space=TargetSpace.MODEL)

    monkeypatch.setattr(of, "__init__", own)
    monkeypatch.setattr(of, "predict", lambda *a, **b: turned(predict(*a, **b)))
    monkeypatch.setattr(of, "targets", lambda *a: turned(targets(*a)))
    found = run(store, world_model, **asked)
    assert [table.name for table in found.tables] == [f"{name}/world model" for name in PREDICTIONS]
    for one, table in zip(plain.tables, found.tables, strict=True):
        assert "own target space" in table.notes[-1]
        for line in one.lines:
            figures = table.line(line.method).figures
            assert figures["top-1"].value == pytest.approx(line.figures["top-1"].value, abs=0.05)
            value = line.figures["explained variance"].value
            assert figures["explained variance"].value == pytest.approx(value, abs=0.05)


# damaged solutions: see test_readings.py and test_damage.py


def test_one_table_a_kind_of_damage(own: tuple[str, str]) -> None:
    store, world_model = own
    found = run(store, world_model, parts=("damage",), damage=("foreign", "result"))
    assert [table.name for table in found.tables] == ["damage/result", "damage/foreign"]
    names = [line.method for line in found.tables[0].lines]
    assert names == [
        "lexical",
        "equations",
        "tokens",
        "log-probability",
        "world model, past",
        "world model, others",
        "ridge regression, past",
        "ridge regression, others",
        "ridge regression, summed",
        *(f"world model, {way} + log-probability" for way in ("past", "others")),
        *(f"ridge regression, {way} + log-probability" for way in ("past", "others", "summed")),
    ]
    assert found.tables[0].line("equations").figures["named"].value == 1.0
    assert found.tables[0].facts["easy"]


# labelled solutions and probe


def test_labelled_solutions(own: tuple[str, str], tmp_path: Path) -> None:
    store, world_model = own
    write_labelled(tmp_path / "labels.jsonl", 12)
    asked = {"parts": ("correctness",), "labelled": str(tmp_path / "labels.jsonl")}
    first = run(store, world_model, **asked)
    assert Path(f"{store}.labelled-labels").is_dir()
    assert run(store, world_model, model=None, **asked).to_json() == first.to_json()
    table = first.table("correctness/others")
    # A limit holds whatever is there already.
    assert run(store, world_model, model=None, limit=5, **asked).table(table.name).items == 10
    assert table.items == 24
    assert table.problems == 12
    assert "12 wrong and 12 right solutions; 12 pairs" in table.notes[-1]
    assert {"length in steps", "length in tokens"} <= {line.method for line in table.lines}
    assert set(table.columns) == {
        "AUROC max", "AUROC mean", "AUROC fitted", "within max", "within mean", "within fitted",
    }  # fmt: skip


def test_labelled_problems_of_the_training_part_are_left_out(
    own: tuple[str, str], tmp_path: Path
) -> None:
    store, world_model = own
    write_labelled(tmp_path / "labels.jsonl", 12)
    write_solutions(tmp_path / "known.jsonl", 30)
    known = (tmp_path / "known.jsonl").read_text()
    known = known.replace('"solution"', '"correct": true, "solution"')
    (tmp_path / "labels.jsonl").write_text((tmp_path / "labels.jsonl").read_text() + known)
    found = run(store, world_model, parts=("correctness",), labelled=str(tmp_path / "labels.jsonl"))
    notes = found.table("correctness/past").notes
    assert any("in the training part" in note for note in notes)


def test_labels_of_one_kind_alone(own: tuple[str, str], tmp_path: Path) -> None:
    store, world_model = own
    write_solutions(tmp_path / "labels.jsonl", 3, first=500)
    with pytest.raises(InputError, match="both right and wrong"):
        run(store, world_model, parts=("correctness",), labelled=str(tmp_path / "labels.jsonl"))


def test_the_probe_says_what_its_label_is(made: Made) -> None:
    _, store, world_model = made
    found = run(store, world_model, parts=("probe",))
    for table in found.tables:
        assert "the step's" in table.title
        assert [line.method for line in table.lines] == ["raw latents", "world model"]
        assert table.columns[0] == "30"


# what is refused


def test_a_store_of_another_space_is_refused(made: Made, tmp_path: Path) -> None:
    other = make_store(tmp_path, pooling="last")
    with pytest.raises(IdentityError, match='pooling is "last" there and "mean" in the world'):
        run(other, made[2], parts=("prediction",))


def test_what_the_world_model_does_not_know_the_stores_must_agree_on() -> None:
    stores = {}
    identities = (sample_identity(), told_identity("one"), told_identity("other"))
    for name, identity in zip(("old", "one", "other"), identities, strict=True):
        stores[name] = MemoryStore()
        stores[name].begin(identity)
        stores[name].write([sample_record(identity, name)])
        stores[name].commit()
    space, owner = sample_identity().space, "the world model"
    corpus = Corpus([stores["old"], stores["one"]], space, owner)
    assert corpus.space == told_identity("one").space
    for names in (("one", "old", "other"), ("other", "one")):
        with pytest.raises(IdentityError, match="tokenizer is"):
            Corpus([stores[name] for name in names], space, owner)


def test_another_layer_is_refused_and_one_of_several_is_used(made: Made, tmp_path: Path) -> None:
    _, store, world_model = made
    both = make_store(tmp_path, "both", layers=(1, 3))
    found = run(both, world_model, parts=("prediction",))
    expected = run(store, world_model, parts=("prediction",))
    assert found.tables[0].lines == expected.tables[0].lines
    other = make_store(tmp_path, "other", layers=(1,))
    with pytest.raises(IdentityError, match=r"layers is \[1\] there and \[3\]"):
        run(other, world_model, parts=("prediction",))


def test_an_empty_store_is_refused(made: Made, tmp_path: Path) -> None:
    open_store(str(tmp_path / "empty"), "write").close()
    with pytest.raises(UsageError, match="empty: holds no records"):
        run(str(tmp_path / "empty"), made[2])


def test_one_step_traces_alone(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"question": "a?", "solution": "One step = 1"}\n')
    store = encode_solutions(path, tmp_path / "s")
    with pytest.raises(InputError, match="no trace has 2 steps or more"):
        run(store, made[2])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"world_models": ()}, "evaluate.world_models: none is named"),
        ({"stores": ()}, "evaluate.stores: none is named"),
        ({"parts": ("correctness",)}, "their file in evaluate.labelled"),
        ({"world_models": ("a", "a")}, "named twice"),
        ({"world_models": ("nowhere",)}, "nowhere: there is no trained world model"),
    ],
)
def test_what_is_missing_is_said(made: Made, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(made[1], made[2], **asked)


def test_world_models_are_opened_by_whoever_claims_them(made: Made) -> None:
    model = open_world_model(made[2], registry=registry())
    assert model.info.objective == "ridge"
    assert np.isfinite(model.info.hidden_size)
