"""Which solutions are damaged, and that they are read once."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from evaluation_stores import encode_solutions, make_run, make_store, registry

from rjepa_core.domain.problem import GivenSolution, Problem, Split, split_of
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.provenance import DONOR, KIND, OF, OF_PROBLEM, WRONG_STEP
from rjepa_core.domain.segmentation import cut_completion, make_trace
from rjepa_core.domain.trace import Trace
from rjepa_core.errors import IdentityError, InputError, UsageError
from rjepa_core.evaluation import (
    EvaluateRunSettings,
    EvaluateSettings,
    Evaluation,
    EvaluationWatch,
    evaluate,
)
from rjepa_core.evaluation.corruption import EDITS, KINDS, steps_of
from rjepa_core.evaluation.readings import Planned, plan
from rjepa_core.plugins.locate import open_store
from rjepa_core.settings import MATH_TEMPLATE, AdapterSettings, ModelSettings
from rjepa_core.testing.seeded import SeededBackend, SeededSettings

Made = tuple[Path, str, str]
BACKEND = SeededBackend(ModelSettings(name="m"), SeededSettings())


def trace_of(
    number: int, solution: GivenSolution | str, strategy: str = "auto", statement: str = ""
) -> Trace:
    """As an extraction reads it."""
    given = GivenSolution(solution) if isinstance(solution, str) else solution
    problem = Problem.make(
        statement or f"Ann has {number + 11} rows of 5 seats, {number + 12} of 7 and of 9. All?"
    )
    prompt = pose(problem, 0, {"default": MATH_TEMPLATE})
    completion = BACKEND.read([prompt], [given])[0]
    return make_trace(problem, 0, completion, cut_completion(completion, strategy))


def seats(number: int, prefix: str = "") -> str:
    a, b = (number + 11) * 5, (number + 12) * 7
    lines = [
        f"Ann has {number + 11} * 5 = {a} seats.",
        f"Other rows have {number + 12} * 7 = {b} seats.",
        f"So there are {a} + {b} = {a + b} seats.",
        f"With 9 more there are {a + b} + 9 = {a + b + 9}.",
    ]
    lines = [prefix.format(i) + line for i, line in enumerate(lines, 1)]
    return "\n".join([*lines, f"#### {a + b + 9}"])


TRACES = [trace_of(number, seats(number)) for number in range(12)]


def by_kind(planned: list[Planned]) -> dict[str, list[Planned]]:
    return {k: [p for p in planned if p.kind == k] for k in ("clean", *KINDS, *EDITS)}


# what is planned


def test_the_first_problems_by_hash_of_each_kind() -> None:
    planned = by_kind(plan(TRACES, tuple(KINDS), 5, 0))
    order = sorted(
        (t.problem.statement_hash for t in TRACES),
        key=lambda h: hashlib.sha256(f"damage:{h}".encode()).hexdigest(),
    )
    for kind in (*KINDS, *EDITS):
        assert [one.clean.problem for one in planned[kind]] == order[:5], kind
    assert [one.clean.problem for one in planned["clean"]] == order[:5]
    # More of them change nothing for the first ones.
    more = by_kind(plan(list(reversed(TRACES)), tuple(KINDS), 12, 0))
    assert more["result"][:5] == planned["result"]
    assert len(more["clean"]) == 12
    other = by_kind(plan(TRACES, ("result",), 5, 1))
    assert other["result"] != planned["result"]
    assert not other["order"]
    assert len(other["renamed"]) == 5


def test_only_solutions_of_three_steps_and_with_a_text() -> None:
    short = trace_of(50, "2 + 2 = 4\n4 + 1 = 5\n#### 5")
    bare = attrs.evolve(trace_of(51, seats(51)), completion="", step_texts=())
    assert plan([short, bare], tuple(KINDS), 5, 0) == []


def test_one_trace_a_problem() -> None:
    again = [attrs.evolve(trace, sample=1) for trace in TRACES]
    assert plan([*again, *TRACES], ("order",), 5, 0) == plan(TRACES, ("order",), 5, 0)


@pytest.mark.parametrize(
    ("strategy", "prefix"), [("auto", ""), ("auto", "Step {}: "), ("sentences", "")]
)
def test_what_is_planned_is_cut_into_the_same_steps(strategy: str, prefix: str) -> None:
    def text(number: int) -> str:
        found = seats(number, prefix)
        # In running text the answer is no line of its own.
        return found.split("\n#")[0].replace("\n", " ") if strategy == "sentences" else found

    traces = [trace_of(number, text(number), strategy) for number in range(6)]
    for one in plan(traces, tuple(KINDS), 6, 0):
        trace = next(t for t in traces if t.problem.statement_hash == one.clean.problem)
        (solution,) = one.row.solutions
        read = trace_of(0, solution, strategy, one.row.problem.statement)
        assert steps_of(read).bodies == one.edit.bodies
        if prefix:
            markers = [step.split(":")[0] for step in read.step_texts]
            assert markers == [f"Step {i + 1}" for i in range(len(markers))]
        if one.kind in ("clean", "reordered", "order", "foreign", "similar"):
            assert read.answer == trace.answer
        if one.edit.wrong:
            # What stands before the damage is the same, token by token.
            start = trace.spans[one.edit.wrong - 1].stop - 1
            assert np.array_equal(read.completion_ids[:start], trace.completion_ids[:start])


def test_a_damaged_solution_says_what_was_done() -> None:
    for one in plan(TRACES, tuple(KINDS), 3, 0):
        (solution,) = one.row.solutions
        assert solution.metadata[KIND] == one.kind
        assert solution.metadata[OF] == one.clean.name
        assert solution.metadata[OF_PROBLEM] == one.clean.problem
        assert (WRONG_STEP in solution.metadata) is (one.kind in KINDS)
        assert one.row.problem.id.startswith(f"{one.clean.name}~{one.kind}~")


# what is read


@pytest.fixture
def own(made: Made, tmp_path: Path) -> tuple[str, str]:
    """A copy of the store, beside which siblings may be made, and the run."""
    shutil.copytree(made[1], tmp_path / "s")
    return str(tmp_path / "s"), made[2]


def run(
    store: str,
    world_model: str,
    model: str | None = "m",
    watch: EvaluationWatch | None = None,
    **asked: Any,
) -> Evaluation:
    usual = {
        "world_models": (world_model,),
        "stores": (store,),
        "draws": 20,
        "parts": ("damage",),
        "damage": ("order", "result", "foreign"),
    }
    settings = EvaluateRunSettings(
        evaluate=EvaluateSettings(**{**usual, **asked}),
        model=None if model is None else ModelSettings(name=model),
        backend=AdapterSettings(name="seeded"),
    )
    return evaluate(settings, registry(), watch)


def test_damaged_solutions_are_encoded_once(own: tuple[str, str]) -> None:
    store, world_model = own
    encoded = []

    def encode(extraction: Any) -> None:
        encoded.append(extraction.store.location)
        extraction.run()

    first = run(store, world_model, watch=EvaluationWatch(encode=encode))
    assert encoded == [f"{store}.damage-test"]
    again = run(store, world_model, model=None, watch=EvaluationWatch(encode=encode))
    assert len(encoded) == 1
    assert again.to_json() == first.to_json()
    # The store's own log-probabilities are kept, and so its clean solutions are.
    sibling = open_store(f"{store}.damage-test")
    kinds = {sibling.get(key).trace.metadata[KIND] for key, _ in sibling.entries()}
    assert kinds == {"order", "result", "foreign", "renamed"}
    sibling.close()


def test_the_sibling_is_of_the_stores_space(own: tuple[str, str]) -> None:
    store, world_model = own
    run(store, world_model)
    ours, theirs = open_store(store), open_store(f"{store}.damage-test")
    assert ours.identity is not None
    assert theirs.identity is not None
    assert theirs.identity.space == ours.identity.space
    assert theirs.identity.logprobs
    known = {str(key): entry for key, entry in ours.entries()}
    donors = 0
    for key, _ in theirs.entries():
        metadata = theirs.get(key).trace.metadata
        donors += DONOR in metadata
        # What steps are taken from is of the same part.
        for name in (metadata[OF], metadata.get(DONOR, metadata[OF])):
            assert split_of(known[name].statement_hash) is Split.TEST
    assert donors
    for opened in (ours, theirs):
        opened.close()


def test_a_sibling_goes_on_where_it_stopped(own: tuple[str, str]) -> None:
    store, world_model = own
    run(store, world_model, damaged=2)
    place = f"{store}.damage-test"
    few = open_store(place)
    before = {key: few.get(key).trace.completion for key, _ in few.entries()}
    few.close()
    with pytest.raises(UsageError, match=r"damage-test lacks \d+ damaged.*set model\.name"):
        run(store, world_model, model=None)
    run(store, world_model)
    many = open_store(place)
    assert len(many) > len(before)
    assert {key: many.get(key).trace.completion for key in before} == before
    many.close()


def test_another_llm_is_refused_and_leaves_nothing_behind(own: tuple[str, str]) -> None:
    store, world_model = own
    with pytest.raises(IdentityError, match=r"model\.name other is of another latent.*model is"):
        run(store, world_model, model="other")
    assert run(store, world_model).tables


def test_clean_solutions_are_read_again_where_log_probabilities_are_missing(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path, logprobs=False)
    warned: list[str] = []
    found = run(store, make_run(store, tmp_path / "run"), watch=EvaluationWatch(warn=warned.append))
    assert "log-probability" in [line.method for line in found.tables[0].lines]
    sibling = open_store(f"{store}.damage-test")
    kinds = [sibling.get(key).trace.metadata[KIND] for key, _ in sibling.entries()]
    assert kinds.count("clean") >= kinds.count("result")
    sibling.close()
    # As the store had read them.
    assert not warned


def test_a_store_that_was_read_otherwise_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path, logprobs=False)
    opened = open_store(store, "write")
    for key, _ in list(opened.entries()):
        record = opened.get(key)
        opened.write([attrs.evolve(record, latents=record.latents * 2)])
    opened.commit()
    opened.close()
    warned: list[str] = []
    run(store, make_run(store, tmp_path / "run"), watch=EvaluationWatch(warn=warned.append))
    assert any("other latents than in the store" in line for line in warned)


def test_nothing_to_damage(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(
        "".join(
            f'{{"question": "Is it {i}?", "solution": "Perhaps\\nOr {i} not"}}\n' for i in range(60)
        )
    )
    store = encode_solutions(tmp_path / "s.jsonl", tmp_path / "s")
    with pytest.raises(InputError, match="no solution of the test part can be damaged"):
        run(store, make_run(store, tmp_path / "run"))
