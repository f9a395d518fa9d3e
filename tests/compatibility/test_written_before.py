"""What older versions wrote keeps opening, reading, scoring and resuming."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from rjepa_adapters.huggingface.checkpoints import content_of
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_adapters.world_model.run import train
from rjepa_cli.main import main
from rjepa_core.config import structure
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.plugins.locate import locate, open_store, open_world_model
from rjepa_core.ports.world_model import TrainWatch
from rjepa_core.scoring.surprise import score
from rjepa_core.settings.training import TrainSettings

FIXTURES = Path(__file__).parents[1] / "fixtures"
# How each store was made, its limit aside, and the records that a larger one adds.
COMMANDS = {
    "sampled": (
        "--problems problems.jsonl --samples 2 --model checkpoint --device cpu "
        "--max-new-tokens 24 --seed 7 --layer 1 --layer 2 --logprobs --allow-failures 50%",
        {"p3", "p3#1", "p4", "p4#1"},
    ),
    "given": (
        "--traces solutions.jsonl --model checkpoint --device cpu --layer 1 --layer 2",
        {f"s{n}" for n in range(24, 28)},
    ),
    "seeded": (
        "--problems problems.jsonl --model m --backend seeded "
        "--set backend.hidden_size=8 --set backend.layers=2",
        {"p3", "p4"},
    ),
}
LARGER = {"sampled": 5, "given": 28, "seeded": 5}
Invoke = Callable[[str], Result]
stores = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture(params=["written_by_0_1"])
def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What a version wrote, in the working directory, and what it held."""
    shutil.copytree(FIXTURES / request.param, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = json.loads(Path("expected.json").read_text())
    return found


@pytest.fixture
def invoke() -> Invoke:
    """Run `rjepa-cli`; it must end well."""

    def run(command: str) -> Result:
        result = CliRunner().invoke(main, command.split())
        assert result.exit_code == 0, f"{result.stderr}\n{result.exception!r}"
        return result

    return run


def digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


def digests(record: LatentRecord) -> dict[str, Any]:
    return {
        "prompt": digest(record.trace.prompt_ids),
        "completion": digest(record.trace.completion_ids),
        "latents": digest(record.latents),
        "first": [round(float(value), 4) for value in record.latents[0, 0, :3]],
    }


def records(name: str) -> dict[str, dict[str, Any]]:
    with open_store(name) as store:
        return {str(key): digests(store.get(key)) for key in store.keys()}  # noqa: SIM118


@stores
def test_a_store_opens_and_reads(written: dict[str, Any], name: str) -> None:
    known = written[name]
    with LmdbStore(name) as store:
        assert store.identity is not None
        assert store.identity.space.fingerprint == known["fingerprint"]
        assert store.identity.space.model == known["content"]
        assert store.digest() == known["digest"]
        assert {str(f.key): f.reason for f in store.failures()} == known["failures"]
        assert [run["kind"] for run in store.history()] == ["begin", "extract"]
    assert records(name) == known["records"]


def test_a_store_is_sound_and_shown(written: dict[str, Any], invoke: Invoke) -> None:
    name = "sampled"
    invoke(f"store verify {name}")
    facts = json.loads(invoke(f"show {name} --json").stdout)
    assert facts["latent_space"] == written[name]["fingerprint"]
    maintenance = locate(name).maintenance()
    assert maintenance.repair(name, "mended").sound
    assert maintenance.verify("mended").sound
    maintenance.compact(name)
    assert records("mended") == records(name) == written[name]["records"]


def test_the_checkpoint_is_the_same_model(written: dict[str, Any]) -> None:
    assert content_of(Path("checkpoint")) == written["sampled"]["content"]


@stores
def test_an_extraction_goes_on(written: dict[str, Any], name: str, invoke: Invoke) -> None:
    command, added = COMMANDS[name]
    done = invoke(f"extract {command} --limit {LARGER[name]} --store {name} --resume --json")
    assert json.loads(done.stdout)["records"] == len(added)
    found, before = records(name), written[name]["records"]
    assert found.keys() - before.keys() == added
    assert {key: found[key] for key in before} == before
    invoke(f"store verify {name}")


@pytest.mark.parametrize("name", ["sampled", "given"])
def test_an_extraction_with_another_tokenizer_is_refused(
    written: dict[str, Any], name: str
) -> None:
    """The store does not tell its tokenizer; its records do."""
    path = Path("checkpoint/tokenizer.json")
    state = json.loads(path.read_text())
    del state["model"]["merges"][-10:]
    path.write_text(json.dumps(state))
    command, _ = COMMANDS[name]
    more = f"--limit {LARGER[name]} --store {name} --resume"
    result = CliRunner().invoke(main, f"extract {command} {more}".split())
    assert result.exit_code == 2, result.output
    assert "the same text, has" in result.stderr.splitlines()[-1]
    assert records(name) == written[name]["records"]
    with open_store(name) as store:
        assert store.identity is not None
        assert store.identity.space.tokenizer is None


def test_a_world_model_scores(written: dict[str, Any]) -> None:
    model = open_world_model("run", "cpu")
    with open_store("given") as store:
        keys = [key for key in store.keys() if str(key) in written["surprise"]]  # noqa: SIM118
        for one in score(store, keys, model):
            wanted = written["surprise"][str(one.key)]
            np.testing.assert_allclose(one.surprise, wanted, rtol=1e-3, atol=1e-5)
    model.close()


def test_a_world_model_scores_texts_and_new_records(
    written: dict[str, Any], invoke: Invoke
) -> None:
    texts = invoke("score solutions.jsonl --world-model run --model checkpoint --device cpu")
    found = {one["problem_id"]: one["steps"] for one in map(json.loads, texts.stdout.splitlines())}
    for name, wanted in written["surprise"].items():
        steps = [step["surprise"] for step in found[name]]
        np.testing.assert_allclose(steps, wanted, rtol=1e-2)
    command, added = COMMANDS["given"]
    invoke(f"extract {command} --store given --resume")
    with open_store("given") as store:
        assert store.identity is not None
        assert store.identity.space.tokenizer is not None, "it was learned meanwhile"
    again = invoke("score given --world-model run --device cpu").stdout.splitlines()
    assert len(again) == len(written["given"]["records"]) + len(added)


def test_training_goes_on(written: dict[str, Any]) -> None:
    before = Path("run/steps.csv").read_text().splitlines()
    settings = structure(TrainSettings, yaml.safe_load(Path("run/config.yaml").read_text()))
    summary = train("run", settings, TrainWatch(resume=True))
    assert (summary.ending, summary.epochs) == ("done", settings.training.max_epochs)
    after = Path("run/steps.csv").read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_training_goes_on_with_a_store_that_was_gone_on_with(
    written: dict[str, Any], invoke: Invoke
) -> None:
    """The problems are the same; the store's identity may tell more than it did."""
    command, _ = COMMANDS["given"]
    invoke(f"extract {command} --limit 24 --store given --resume")
    invoke("train --out run --resume")


def test_shards_are_imported(written: dict[str, Any], invoke: Invoke) -> None:
    invoke("store import shards again")
    with LmdbStore("again") as store:
        assert store.digest() == written["sampled"]["digest"]
    assert records("again") == written["sampled"]["records"]


def test_an_old_store_and_a_new_one_are_merged(written: dict[str, Any], invoke: Invoke) -> None:
    command, added = COMMANDS["sampled"]
    lines = Path("problems.jsonl").read_text().splitlines(keepends=True)
    Path("problems.jsonl").write_text("".join(lines[3:5]))
    # Cut by the rules of that time; by today's it could not be merged.
    invoke(f"extract {command} --store new --steps auto-1")
    for target, source in (("sampled", "new"), ("new", "again")):
        if source == "again":
            invoke("store import shards again")
        invoke(f"store merge {target} {source}")
        found = records(target)
        assert found.keys() == written["sampled"]["records"].keys() | added
        for key, known in written["sampled"]["records"].items():
            assert found[key] == known
        invoke(f"store verify {target}")
