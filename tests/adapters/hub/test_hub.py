"""World models and stores to the hub and back, over HTTP to a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hub_server import TOKEN, Hub, Repo, hub
from latent_stores import make_store

from rjepa_adapters.hub import HubError, from_pretrained, push_to_hub
from rjepa_adapters.hub.fetch import fetch
from rjepa_core import (
    Grade,
    Registry,
    TrainSettings,
    open_store,
    open_world_model,
    score,
    train_world_model,
)
from rjepa_core.errors import (
    ArgumentError,
    InputError,
    StoreNotFoundError,
    UnsupportedError,
    UsageError,
)
from rjepa_core.plugins import is_store, locate
from rjepa_core.plugins.hooks import GROUP, PretrainedRunAdapter, hookimpl
from rjepa_core.ports.store import KeepsGrades
from rjepa_core.testing.samples import sample_failure, sample_identity

__all__ = ["hub"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = make_store(
        tmp_path_factory.mktemp("hub") / "s", [2, 3, 4] * 12, sample_identity(), correct="true"
    )
    with open_store(place, "write") as opened:
        opened.write([], [sample_failure("bad")])
        assert isinstance(opened, KeepsGrades)
        opened.write_grades([Grade(opened["p-0"].key, "right", "", "1", "exact", "1")])
    return place


@pytest.fixture(scope="module")
def run(store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("hub") / "run"
    settings = TrainSettings(
        data=store, model={"network": "linear"}, training={"max_epochs": 1, "device": "cpu"}
    )
    train_world_model(place, settings)
    return str(place)


def test_a_store_to_the_hub_and_back(hub: Hub, store: str) -> None:
    assert push_to_hub(store, "ann/steps") == f"{hub.url}/datasets/ann/steps"
    files = hub.files("datasets/ann/steps")
    assert set(files) == {"README.md", "data.mdb", "identity.json"}
    card = files["README.md"].decode()
    head = yaml.safe_load(card.split("---")[1])
    assert head == {"library_name": "rjepa", "tags": ["rjepa", "rjepa-store"]}
    assert 'rj.open_store("hf:ann/steps")' in card
    assert is_store("hf:ann/steps", Registry())
    with open_store(store) as wanted:
        for found in (from_pretrained("ann/steps", "store"), open_store("hf:ann/steps")):
            assert found.identity == wanted.identity
            assert set(found.keys()) == set(wanted.keys())
            for record in wanted:
                np.testing.assert_array_equal(found.get(record.key).latents, record.latents)
            assert [failure.key.problem_id for failure in found.failures()] == ["bad"]
            assert isinstance(found, KeepsGrades)
            assert [grade.mark for grade in found.grades()] == ["right"]
            found.close()


def test_a_world_model_to_the_hub_and_back(hub: Hub, run: str, store: str) -> None:
    with open_world_model(run, "cpu") as world_model:
        assert push_to_hub(world_model, "hf:ann/wm", private=True, message="First").endswith(
            "/ann/wm"
        )
        assert hub.repos["models/ann/wm"].private
        files = hub.files("models/ann/wm")
        assert {"README.md", "best.json", "config.yaml", "metrics.csv"} <= set(files)
        # What only training needs stays here.
        assert not [name for name in files if name.endswith("training.safetensors")]
        assert "rjepa-world-model" in files["README.md"].decode()
        with open_store(store) as opened:
            keys = list(opened.keys())
            wanted = [one.surprise for one in score(opened, keys, world_model)]
            for found in (from_pretrained("ann/wm"), open_world_model("hf:ann/wm", "cpu")):
                for ours, theirs in zip(score(opened, keys, found), wanted, strict=True):
                    np.testing.assert_array_equal(ours.surprise, theirs)


def test_revisions_and_what_an_earlier_upload_left(hub: Hub, store: str, tmp_path: Path) -> None:
    push_to_hub(store, "ann/steps")
    first = hub.repos["datasets/ann/steps"].head
    other = make_store(tmp_path / "other", (2, 3))
    push_to_hub(Path(other), "ann/steps")
    assert set(hub.files("datasets/ann/steps")) == {"README.md", "data.mdb", "identity.json"}
    with open_store("hf:ann/steps") as new, open_store(f"hf:ann/steps@{first}") as old:
        assert (len(new), len(old)) == (2, 36)
    with pytest.raises(InputError, match=r"hf:ann/steps@v9: there is no such branch, tag"):
        open_store("hf:ann/steps@v9")


def test_what_is_here_opens_without_the_hub(
    hub: Hub, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    push_to_hub(store, "ann/steps")
    open_store("hf:ann/steps").close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    with open_store("hf:ann/steps") as found:
        assert len(found) == 36
    with pytest.raises((InputError, HubError), match="hf:ann/others: "):
        open_store("hf:ann/others")
    assert hub.asked == []


def test_the_command_line_takes_them(hub: Hub, store: str, run: str, tmp_path: Path) -> None:
    from rjepa_cli.main import main

    push_to_hub(store, "ann/steps")
    push_to_hub(run, "ann/wm")

    def called(*arguments: str) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    assert "p-2: 4 steps" in called("show", "hf:ann/steps")
    scores = called("score", "hf:ann/steps", "--world-model", "hf:ann/wm", "--limit", "2")
    assert scores.count('"surprise"') >= 2
    ranked = called("rank", "hf:ann/steps", "--world-model", "hf:ann/wm", "--limit", "2")
    assert ranked.count("problem_id") >= 2
    called("store", "merge", str(tmp_path / "merged"), "hf:ann/steps")
    with open_store(tmp_path / "merged") as merged:
        assert len(merged) == 36


def test_what_is_refused(hub: Hub, store: str, tmp_path: Path) -> None:
    calls: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: open_store("hf:ann/none"), InputError, "hf:ann/none: there is no such repository"),
        (lambda: open_world_model("hf:x"), InputError, "hf:x: expected hf:USER/NAME"),
        (lambda: from_pretrained("ann/x", "run"), ArgumentError, "kind: got 'run', expected"),
        (lambda: open_store("hf:ann/x", "write"), UnsupportedError, "is only read; write to a"),
        (lambda: push_to_hub(tmp_path, "ann/x"), InputError, "there is neither a store nor"),
        (lambda: push_to_hub("http://x", "ann/x"), UnsupportedError, "name its run"),
        (lambda: push_to_hub(3, "ann/x"), ArgumentError, "what: got 3"),  # type: ignore[arg-type]
        (lambda: push_to_hub(store, "no slash"), InputError, "no slash: expected hf:USER/NAME"),
        (lambda: push_to_hub(store, "ann/x", token="hf_bad"), UsageError, "hf:ann/x: the Hugging"),
    ]
    for call, kind, line in calls:
        with pytest.raises(kind) as raised:
            call()
        assert line in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not is_store("hf:ann/none", Registry())
    push_to_hub(store, "ann/steps", token=TOKEN)
    hub.repos["models/ann/other"] = hub.repos["datasets/ann/steps"]
    with pytest.raises(InputError, match="holds no world model of rjepa: it has no best"):
        open_world_model("hf:ann/other")


def test_what_is_to_be_private_never_goes_to_a_public_repository(
    hub: Hub, store: str, run: str
) -> None:
    for name, what in (("models/ann/wm", run), ("datasets/ann/steps", store)):
        for is_private in (False, True):
            hub.repos[name] = Repo(private=is_private)
            hub.asked.clear()
            repo_id = name.partition("/")[2]
            with pytest.raises(UsageError, match=rf"^hf:{repo_id}: this repository is p") as raised:
                push_to_hub(what, repo_id, private=not is_private)
            assert "\n" not in str(raised.value)
            assert not [asked for asked in hub.asked if "upload" in asked or "/commit/" in asked]
            assert hub.files(name) == {}
    # As it is, or as it was asked for.
    push_to_hub(run, "ann/wm", private=True)
    push_to_hub(store, "ann/steps")
    assert hub.files("models/ann/wm")
    assert hub.files("datasets/ann/steps")


def test_what_is_made_from_a_store_of_the_hub_lies_in_the_working_folder(hub: Hub) -> None:
    registry = Registry()
    beside = locate("hf:ann/steps@feature/x", registry).beside
    assert beside == "ann--steps@feature--x"
    assert locate("hf:ann/steps", registry).beside == "ann--steps"
    assert hub.asked == [], "nothing is downloaded to say where"


def test_an_evaluation_leaves_the_download_as_it_is(
    hub: Hub, run: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rjepa_cli.main import main

    push_to_hub(store, "ann/steps")
    push_to_hub(run, "ann/wm")
    fetch("hf:ann/steps", "store")
    folder = fetch("hf:ann/wm", "world_model")
    assert (folder / "report.html").is_file()
    before = _contents(tmp_path / "hf")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    arguments = ["--world-model", "hf:ann/wm", "--store", "hf:ann/steps", "--draws", "0"]
    parts = ["--parts", "prediction", "--split", "validation"]
    result = CliRunner().invoke(main, ["evaluate", *arguments, *parts])
    assert result.exit_code in (0, 3), result.output
    assert "hf:ann/wm: the report that came with it is left as it is" in result.stderr
    assert _contents(tmp_path / "hf") == before


def test_they_say_that_they_are_of_the_hub(hub: Hub, run: str, store: str) -> None:
    push_to_hub(store, "ann/steps")
    push_to_hub(run, "ann/wm")
    head = hub.repos["datasets/ann/steps"].head
    for opened, place in (
        (open_store("hf:ann/steps"), "hf:ann/steps"),
        (from_pretrained("ann/steps", "store", revision=head), f"hf:ann/steps@{head}"),
    ):
        assert opened.location == place
        assert place in repr(opened)
        opened.close()
    with open_world_model("hf:ann/wm", "cpu") as world_model:
        assert world_model.info.location == "hf:ann/wm"
        assert "hf:ann/wm" in repr(world_model)
        push_to_hub(world_model, "ann/copy")
    assert hub.files("models/ann/copy")["best.json"] == hub.files("models/ann/wm")["best.json"]


@pytest.mark.parametrize("place", ["hf:ann/new", "hf:new", "HF:ann/new", "http://x/runs"])
def test_a_run_is_trained_in_a_folder_here(
    place: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rjepa_cli.main import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsupportedError, match=f"^{place}: a run is trained in a folder here"):
        train_world_model(place, TrainSettings(data=store))
    result = CliRunner().invoke(main, ["train", "--store", store, "--out", place])
    assert result.exit_code == 2
    assert f"{place}: a run is trained in a folder here; name one" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_wrong_kind_is_called_what_it_is(hub: Hub, run: str, store: str) -> None:
    from rjepa_cli.main import main

    push_to_hub(store, "ann/steps")
    push_to_hub(run, "ann/wm")
    no_world_model = r"^hf:ann/steps: is a store, not a world model; name it where a store is"
    no_store = r"^hf:ann/wm: is a world model, not a store; name it where a world model is"
    verifier = TrainSettings(
        data=store, model={"objective": "verifier", "world_model": "hf:ann/steps"}
    )
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: from_pretrained("ann/steps"), no_world_model),
        (lambda: open_world_model("hf:ann/steps"), no_world_model),
        (lambda: train_world_model("new", verifier), no_world_model),
        (lambda: from_pretrained("ann/wm", "store"), no_store),
        (lambda: open_store("hf:ann/wm"), no_store),
    ]
    # Neither does an empty repository of the other type change what is said.
    for empty in (False, True):
        if empty:
            hub.repos |= {"models/ann/steps": Repo(), "datasets/ann/wm": Repo()}
        for call, line in calls:
            with pytest.raises(InputError, match=line):
                call()
    result = CliRunner().invoke(main, ["show", "hf:ann/wm"])
    assert result.exit_code == 2
    assert "hf:ann/wm: is a world model, not a store" in result.stderr


def test_a_verifier_says_that_its_world_model_is_not_on_the_hub(
    hub: Hub, store: str, tmp_path: Path
) -> None:
    model = {"objective": "verifier", "world_model": "hf:ann/nope"}
    with pytest.raises(InputError, match=r"^hf:ann/nope: there is no such repository"):
        train_world_model(tmp_path / "new", TrainSettings(data=store, model=model))


def test_a_hub_that_is_down_is_called_down(
    hub: Hub, store: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    push_to_hub(store, "ann/here")
    open_store("hf:ann/here").close()
    dead = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", dead)
    template = dead + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    calls: list[Callable[[], object]] = [
        lambda: is_store("hf:ann/x", Registry()),
        lambda: open_store("hf:ann/x"),
        lambda: push_to_hub(run, "ann/x"),
        lambda: push_to_hub("hf:ann/x", "ann/y"),
    ]
    for call in calls:
        with pytest.raises(HubError, match=r"^hf:ann/x: the Hugging Face Hub cannot be reached"):
            call()
    assert is_store("hf:ann/here", Registry())
    # A dataset that was downloaded is read without the hub.
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    (tmp_path / "datasets" / "ann___x").mkdir(parents=True)
    assert not is_store("hf:ann/x", Registry())


def test_a_name_without_hf_is_told_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreNotFoundError, match=r"one on the Hugging Face Hub is hf:ann/steps$"):
        open_store("ann/steps")
    (tmp_path / "runs").mkdir()
    for place in ("runs/frist", "./ann/steps", "steps", str(tmp_path / "x")):
        with pytest.raises(StoreNotFoundError, match=r"check the path$"):
            open_store(place)


def test_a_pretrained_name_goes_to_the_hub(
    hub: Hub, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = PretrainedRunAdapter(name="known", location=lambda: run)
    module = ModuleType("carries_a_run")
    module.rjepa_pretrained_runs = hookimpl(  # type: ignore[attr-defined]
        lambda: [known], specname="rjepa_pretrained_runs"
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entries = [*entry_points(group=GROUP), EntryPoint("carries", module.__name__, GROUP)]
    push_to_hub("known", "ann/known", registry=Registry(entries))
    assert "best.json" in hub.files("models/ann/known")
    with pytest.raises(InputError, match="nor a pretrained one of that name"):
        push_to_hub("unknown", "ann/unknown")


def test_the_card_of_a_world_model_names_its_llm(hub: Hub, run: str, store: str) -> None:
    push_to_hub(run, "ann/wm")
    card = hub.files("models/ann/wm")["README.md"].decode()
    with open_store(store) as opened:
        assert opened.identity is not None
        name = opened.identity.labels.get("model")
    assert "THE LLM" not in card
    assert name
    assert f"| Model | `{name}` |" in card
    assert f'llm = "{name}"' in card


def test_the_card_of_a_world_model_from_a_store_of_the_hub(
    hub: Hub, store: str, tmp_path: Path
) -> None:
    push_to_hub(store, "ann/steps")
    linear = {"network": "linear"}
    settings = TrainSettings(
        data="hf:ann/steps", model=linear, training={"max_epochs": 1, "device": "cpu"}
    )
    train_world_model(tmp_path / "wm", settings)
    push_to_hub(tmp_path / "wm", "ann/wm")
    assert "| Model | `sample` |" in hub.files("models/ann/wm")["README.md"].decode()


@pytest.mark.parametrize("command", ["damage", "evaluate", "score", "show", "train"])
def test_the_help_tells_of_the_hub(command: str) -> None:
    from rjepa_cli.main import main

    assert "hf:USER/NAME" in CliRunner().invoke(main, [command, "--help"]).output


def _contents(folder: Path) -> dict[str, bytes]:
    # Readers have locks.
    files = (file for file in folder.rglob("*") if file.is_file() and "lock" not in file.name)
    return {str(file): file.read_bytes() for file in files}
