"""The small LLM's problems: true, split by template and numbers, and fit to be damaged."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rjepa_core.domain.answer import final_answer
from rjepa_core.domain.problem import split_of, statement_hash
from rjepa_core.evaluation.corruption import EDITS, KINDS, Clean, Donors
from rjepa_core.evaluation.corruption.equations import read_step

FOLDER = Path(__file__).parents[2] / "benchmarks" / "small_llm"
COUNT = 60


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """The scripts as modules, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module
        for path in FOLDER.glob("*.py"):
            sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def parts(scripts: Any) -> dict[str, list[Any]]:
    """The first problems of each part."""
    made = scripts("word_problems")
    return {part: list(itertools.islice(made.problems(part), COUNT)) for part in made.PARTS}


def test_solutions_are_true_and_give_the_answer(parts: dict[str, list[Any]]) -> None:
    for problem in itertools.chain(*parts.values()):
        assert 3 <= len(problem.steps) <= 6
        for step in problem.steps:
            read = read_step(step)
            assert read.unread == 0
            [equation] = read.equations
            assert equation.true
            assert equation.exact
        last = read_step(problem.steps[-1])
        assert last.numbers[last.equations[0].result].value == problem.answer
        assert final_answer(problem.solution) == str(problem.answer)


def test_what_a_step_works_with_is_given_or_was_found_out(parts: dict[str, list[Any]]) -> None:
    for problem in itertools.chain(*parts.values()):
        asked = {int(number.value) for number in read_step(problem.statement).numbers}
        assert set(problem.numbers) <= asked
        known = set(problem.numbers)
        for step in map(read_step, problem.steps):
            half = {2} if "/ 2 =" in step.text else set()
            assert {int(value) for value in step.operands} <= known | half
            known |= {int(step.numbers[e.result].value) for e in step.equations}


def test_parts_share_neither_templates_nor_combinations_of_numbers(
    parts: dict[str, list[Any]],
) -> None:
    templates = {part: {p.template for p in some} for part, some in parts.items()}
    learnt = templates.pop("corpus") | templates.pop("train")
    for one, other in itertools.combinations((learnt, *templates.values()), 2):
        assert not one & other
    numbers = [{p.numbers for p in some} for some in parts.values()]
    for a, b in itertools.combinations(numbers, 2):
        assert not a & b


def test_a_part_is_the_part_that_every_command_makes_of_it(parts: dict[str, list[Any]]) -> None:
    for part, some in parts.items():
        if part != "corpus":
            assert {split_of(statement_hash(p.statement)).value for p in some} == {part}


def test_problems_depend_on_part_seed_and_index_alone(
    scripts: Any, parts: dict[str, list[Any]]
) -> None:
    made = scripts("word_problems")
    assert made.problem("test", 7) == parts["test"][7]
    assert made.problem("test", 7, seed=1) != parts["test"][7]
    assert len({p.statement for some in parts.values() for p in some}) == 4 * COUNT


def test_every_kind_of_damage_and_of_edit_can_be_done(parts: dict[str, list[Any]]) -> None:
    some = [
        Clean.of(str(i), statement_hash(p.statement), p.statement, p.steps)
        for i, p in enumerate(parts["corpus"])
    ]
    assert all(clean.solution.sound for clean in some)
    donors = Donors(some)
    for name, damage in {**KINDS, **EDITS}.items():
        done = [damage(clean, donors, np.random.default_rng(0)) is not None for clean in some]
        # Few solutions have neighbouring steps that may change places.
        assert np.mean(done) > (0.1 if name == "reordered" else 0.8), name


def test_files_and_commands_of_the_stores(scripts: Any, tmp_path: Path) -> None:
    stores = scripts("make_stores")
    stores.SOLVED = {"train": 4, "test": 2}
    stores.GIVEN = {"test": 1}
    made = stores.commands(tmp_path / "llm", tmp_path, tmp_path / "out", 8, 0.8)
    assert [place.name for place in made] == ["out", "out-given"]
    rows = [json.loads(line) for line in (tmp_path / "problems-train.jsonl").open()]
    assert [row["id"] for row in rows] == [f"train-000{i}" for i in range(4)]
    assert all(row["solution"].endswith(f"\nAnswer: {row['answer']}") for row in rows)
    given = (tmp_path / "given-test.jsonl").read_text()
    assert (tmp_path / "problems-test.jsonl").read_text().startswith(given)


def test_digits_are_tokens_and_texts_come_back(scripts: Any) -> None:
    train = scripts("train_llm")
    tokenizer = train.make_tokenizer(100)
    text = "So Tom has 40 + 2 = 42 apples.\nAnswer: 42"
    coded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.decode(coded.input_ids) == text
    pieces = [text[a:b] for a, b in coded.offset_mapping]
    assert [piece for piece in pieces if any(map(str.isdigit, piece))] == list("4024242")


@pytest.mark.slow
def test_a_step_of_training_makes_an_llm_that_extract_takes(scripts: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from click.testing import CliRunner

    from rjepa_cli.main import main

    train, stores = scripts("train_llm"), scripts("make_stores")
    tokenizer = train.make_tokenizer(100)
    torch.manual_seed(0)
    model = train.make_model(tokenizer, layers=2, width=32)
    rows = next(train.batches(tokenizer, 2, seed=0, first=3))
    before = train.loss_of(model, rows)
    before.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert train.loss_of(model, rows) < before
    train.save(tmp_path / "llm", model, tokenizer)
    stores.SOLVED, stores.GIVEN = {"train": 2}, {"train": 2}
    made = stores.commands(tmp_path / "llm", tmp_path, tmp_path / "out", 2, 0.8)
    for place, words in made.items():
        done = CliRunner().invoke(main, ["extract", *words, "--store", str(place)])
        assert done.exit_code == 0, done.output
