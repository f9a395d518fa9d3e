"""Surprise of stored records, through the port."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
from latent_stores import make_store

from rjepa_core import RecordKey, open_store
from rjepa_core.domain.floors import FEWEST_COMPARED
from rjepa_core.errors import IdentityError
from rjepa_core.ports.world_model import (
    Context,
    Floats,
    LatentSequence,
    TargetSpace,
    WorldModelInfo,
)
from rjepa_core.scoring.surprise import comparison, percentile, score
from rjepa_core.testing.samples import sample_identity

DOCS = Path(__file__).parents[3] / "docs"
SPACE = sample_identity().space
INFO = WorldModelInfo(
    location="run",
    space=SPACE,
    hidden_size=SPACE.hidden_size,
    target_size=SPACE.hidden_size,
    target_space=TargetSpace.LLM,
    objective="none",
    quantiles={0: tuple(float(i) for i in range(101)), 3: tuple(i / 10 for i in range(101))},
)


@attrs.frozen
class MeanNorm:
    """Its surprise is a step's mean square: enough to tell which record and layer was read."""

    info: WorldModelInfo = INFO

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        return [np.square(one.latents).mean(-1) for one in sequences]


def test_records_are_scored_in_the_order_that_was_asked(tmp_path: Path) -> None:
    with open_store(make_store(tmp_path / "s", [2, 5, 3, 2])) as store:
        keys = [RecordKey("p-3"), RecordKey("p-1"), RecordKey("p-0")]
        found = list(score(store, keys, MeanNorm()))  # type: ignore[arg-type]
        assert [one.key for one in found] == keys
        for one in found:
            latents = store.get(one.key).latents[0].astype(np.float32)
            np.testing.assert_allclose(one.surprise, np.square(latents).mean(-1), rtol=1e-6)
            assert one.percentiles is not None
            assert len(one.percentiles) == len(latents)


def test_another_space_is_refused(tmp_path: Path) -> None:
    other = attrs.evolve(INFO, space=attrs.evolve(SPACE, pooling="last"))
    with (
        open_store(make_store(tmp_path / "s", [2])) as store,
        pytest.raises(IdentityError, match="pooling"),
    ):
        list(score(store, [RecordKey("p-0")], MeanNorm(other)))  # type: ignore[arg-type]


def test_percentiles_are_those_of_traces_as_long() -> None:
    assert percentile(INFO, 3, 5.0) == pytest.approx(100 * 50 / 101)
    assert percentile(INFO, 4, 5.0) == pytest.approx(100 * 5 / 101)
    assert percentile(INFO, 3, 1e9) == 100.0
    assert percentile(attrs.evolve(INFO, quantiles={}), 3, 1.0) is None


@pytest.mark.parametrize(
    ("compared", "steps", "said"),
    [
        ({}, 3, "of the steps of validation solutions of 3 steps"),
        ({0: 90, 3: FEWEST_COMPARED}, 3, "of the steps of 20 validation solutions of 3 steps"),
        (
            {0: 90, 3: FEWEST_COMPARED - 1},
            3,
            "of the steps of 90 validation solutions of any length",
        ),
        ({0: 90, 3: 6}, 4, "of the steps of 90 validation solutions of any length"),
        ({0: FEWEST_COMPARED - 1, 3: 6}, 3, None),
        ({0: FEWEST_COMPARED - 1}, 4, None),
    ],
)
def test_what_a_step_is_compared_with_is_said_or_nothing_is(
    compared: dict[int, int], steps: int, said: str | None
) -> None:
    info = attrs.evolve(INFO, compared=compared)
    found = comparison(info, steps)
    assert (percentile(info, steps, 1.0) is None) == (said is None)
    assert found is None if said is None else said in str(found)


def test_train_load_and_score_in_fifteen_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The how-to's own code."""
    page = (DOCS / "how-to" / "train-a-world-model.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(code.strip().splitlines()) < 15
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    make_store("runs/gsm8k", [2 + i % 3 for i in range(60)])
    exec(compile(code, "how-to", "exec"), {})
    assert capsys.readouterr().out.count("p-") == 5
