"""Datasets: saved on disk for real, and by name with the library's loader replaced."""

from __future__ import annotations

import pytest

from rjepa_core.errors import InputError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def table():
    return datasets.Dataset.from_list([{"question": "a", "answer": "x\n#### 1"}, {"question": "b"}])


@pytest.fixture
def one_split(table, tmp_path):
    table.save_to_disk(tmp_path / "one")
    return tmp_path / "one"


@pytest.fixture
def two_splits(table, tmp_path):
    splits = {"train": table, "test": table.select([1])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "two")
    return tmp_path / "two"


def test_a_saved_dataset(one_split, read, claimants):
    assert claimants(one_split) == ["huggingface"]
    rows = read(one_split)
    assert [row.problem.statement for row in rows] == ["a", "b"]
    assert [row.problem.answer for row in rows] == ["1", None]
    assert [row.where for row in rows] == [f"{one_split}, row 1", f"{one_split}, row 2"]
    assert read(f"hf:{one_split}")[0].problem == rows[0].problem


def test_a_saved_dataset_is_read_again(one_split, open_source):
    source = open_source(one_split)
    assert list(source.rows()) == list(source.rows())


def test_splits(two_splits, read):
    def statements(*args):
        return [row.problem.statement for row in read(*args)]

    assert statements(two_splits) == ["a", "b"]
    assert statements(f"hf:{two_splits}:test") == ["b"]
    assert statements(two_splits, {"split": "test"}) == ["b"]


def test_a_split_that_is_not_there(two_splits, one_split, read):
    with pytest.raises(InputError, match="no split 'dev'; it has test, train"):
        read(f"hf:{two_splits}:dev")
    with pytest.raises(InputError, match="holds one split; leave out 'dev'"):
        read(f"hf:{one_split}:dev")


def test_a_damaged_dataset(one_split, read):
    (one_split / "state.json").write_text("{")
    with pytest.raises(InputError) as caught:
        read(one_split)
    assert str(caught.value).startswith(f"{one_split}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "options", "asked"),
    [
        ("openai/gsm8k", {}, ("openai/gsm8k", None, "train", None)),
        ("hf:openai/gsm8k:test", {"config": "main"}, ("openai/gsm8k", "main", "test", None)),
        ("hf:o/n:train[:5]", {"revision": "v1"}, ("o/n", None, "train[:5]", "v1")),
        ("hf:squad", {"split": "dev"}, ("squad", None, "dev", None)),
        ("hf:squad:test", {"split": "dev"}, ("squad", None, "test", None)),
    ],
)
def test_names_are_asked_of_the_library_once(
    location, options, asked, table, open_source, monkeypatch
):
    calls = []

    def load(name, config, *, split, revision):
        calls.append((name, config, split, revision))
        return table

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = open_source(location, options)
    assert calls == []
    assert len(list(source.rows())) == len(list(source.rows())) == 2
    assert calls == [asked]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("Config name is missing.\nPick one: ['main']"), "huggingface.config=NAME"),
        (ValueError('Unknown split "x". Should be one of [..].'), "hf:a/b:SPLIT"),
        (ConnectionError("Couldn't reach 'a/b'\non the Hub"), "no such file, and the dataset"),
        (RuntimeError(), "cannot be loaded: RuntimeError"),
    ],
)
def test_what_the_library_raises_is_one_line(error, says, read, monkeypatch):
    def load(*args, **kwargs):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError) as caught:
        read("a/b")
    message = str(caught.value)
    assert message.startswith("a/b: ")
    assert says in message
    assert "\n" not in message
