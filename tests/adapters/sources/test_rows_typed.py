"""Typed sources keep the rules of text sources."""

from __future__ import annotations

import datetime
from decimal import Decimal
from uuid import UUID

import pytest

from rjepa_core.domain.problem import derived_id
from rjepa_core.errors import InputError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
DAY, MOMENT = datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3, 4, 5)


@pytest.fixture
def read_column(read, tmp_path):
    """The problem of a row with one more column."""

    def column(name, value, kind=None, **problems):
        table = {"question": ["Why?"], name: pyarrow.array([value], kind)}
        parquet.write_table(pyarrow.table(table), tmp_path / "f.parquet")
        [row] = read(tmp_path / "f.parquet", **problems)
        return row.problem

    return column


@pytest.mark.parametrize(
    ("value", "kind", "id", "answer"),
    [
        (Decimal("4.00"), None, "4", "4.00"),
        (Decimal("4.50"), None, "4.50", "4.50"),
        (
            Decimal("12345678901234567890123456789012345"),
            None,
            "12345678901234567890123456789012345",
            "12345678901234567890123456789012345",
        ),
        (2**64 - 1, pyarrow.uint64(), str(2**64 - 1), str(2**64 - 1)),
        (4.0, pyarrow.float64(), "4", "4"),
        (0.1, pyarrow.float32(), "0.1", "0.1"),
        (1.5, pyarrow.float16(), "1.5", "1.5"),
        (1e22, pyarrow.float64(), "10000000000000000000000", "10000000000000000000000"),
        (1e23, pyarrow.float64(), "1e+23", "1e+23"),
        (b"abc", pyarrow.binary(), "abc", "abc"),
        ("größe".encode(), pyarrow.binary(), "größe", "größe"),
        (b"abc", pyarrow.binary(3), "abc", "abc"),
        (DAY, None, "2024-01-02", "2024-01-02"),
        (datetime.datetime(2024, 1, 2), pyarrow.timestamp("us"), "2024-01-02", "2024-01-02"),
        (MOMENT, pyarrow.timestamp("ns"), "2024-01-02 03:04:05", "2024-01-02 03:04:05"),
        (datetime.time(3, 4), None, "03:04:00", "03:04:00"),
        (UUID(int=7).bytes, pyarrow.uuid(), str(UUID(int=7)), str(UUID(int=7))),
    ],
)
def test_scalars(read_column, value, kind, id, answer):
    assert read_column("id", value, kind).id == id
    assert read_column("answer", value, kind).answer == answer
    assert read_column("note", value, kind).metadata == {"note": answer}


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.string(),
        pyarrow.float64(),
        pyarrow.decimal128(5, 2),
        pyarrow.null(),
        pyarrow.date32(),
        pyarrow.binary(),
    ],
)
def test_null_is_none(read_column, kind):
    assert read_column("id", None, kind).id == derived_id("math", "Why?")
    assert read_column("answer", None, kind).answer is None
    assert read_column("note", None, kind).metadata == {}


def test_dictionary_encoded_columns(read, tmp_path):
    table = pyarrow.table(
        {
            n: pyarrow.array(v).dictionary_encode()
            for n, v in {
                "question": ["Why?", "How?"],
                "id": ["a", "b"],
                "answer": ["4", "5"],
            }.items()
        }
    )
    parquet.write_table(table, tmp_path / "f.parquet")
    rows = read(tmp_path / "f.parquet")
    assert [(r.problem.id, r.problem.statement, r.problem.answer) for r in rows] == [
        ("a", "Why?", "4"),
        ("b", "How?", "5"),
    ]


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (["42"], "42"),
        ([Decimal("4.00")], "4.00"),
        ([Decimal("4.00"), Decimal("4.50")], "[4, 4.5]"),
        ([1.0, 2.5], "[1.0, 2.5]"),
        ([DAY, DAY], '["2024-01-02", "2024-01-02"]'),
        ([b"a", b"b"], '["a", "b"]'),
        ([], "[]"),
        ({"x": 1}, '{"x": 1}'),
    ],
)
def test_lists_as_answers(read_column, value, answer):
    assert read_column("answer", value).answer == answer


def test_a_column_of_bytes_holds_statements(read, tmp_path):
    table = pyarrow.table(
        {"question": pyarrow.array([b"Why?"]), "steps": pyarrow.array([[b"a", b"b"]])}
    )
    parquet.write_table(table, tmp_path / "f.parquet")
    [row] = read(tmp_path / "f.parquet", traces=("here",))
    assert row.problem.id == derived_id("math", "Why?")
    assert row.solutions[0].steps == ("a", "b")


@pytest.mark.parametrize("name", ["id", "answer", "question"])
@pytest.mark.parametrize("value", [b"\xff\xfe", b"a\0b"])
def test_binary_data_is_refused_by_name(read, tmp_path, name, value):
    row = {"question": "Why?", name: value}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "f.parquet")
    with pytest.raises(InputError, match=rf"row 1: the \w+ in field '{name}' is binary data"):
        read(tmp_path / "f.parquet")


@pytest.mark.parametrize("value", [Decimal("4.00"), 4.0, ["a"]])
def test_a_statement_is_a_text(read, tmp_path, value):
    parquet.write_table(pyarrow.Table.from_pylist([{"question": value}]), tmp_path / "f.parquet")
    with pytest.raises(
        InputError, match=r"row 1: the statement in field 'question' is a (number|list)"
    ):
        read(tmp_path / "f.parquet")


def test_a_column_that_is_there_twice(read, tmp_path):
    table = pyarrow.table([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["question"] * 2)
    parquet.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(InputError, match=r"f\.parquet: the column 'question' occurs twice"):
        read(tmp_path / "f.parquet")


def test_a_field_within_a_column_that_is_there_twice(read, tmp_path):
    fields = [pyarrow.field("a", pyarrow.int64())] * 2
    inner = pyarrow.StructArray.from_arrays([pyarrow.array([1])] * 2, fields=fields)
    parquet.write_table(pyarrow.table({"question": ["Why?"], "s": inner}), tmp_path / "f.parquet")
    with pytest.raises(InputError, match=r"f\.parquet: .*duplicate field names"):
        read(tmp_path / "f.parquet")


def test_choices_of_typed_columns(read, tmp_path):
    options = pyarrow.array(
        [[("A", "red"), ("B", "blue")]], pyarrow.map_(pyarrow.string(), pyarrow.string())
    )
    table = pyarrow.table({"question": ["Which?"], "options": options, "answer": ["B"]})
    parquet.write_table(table, tmp_path / "f.parquet")
    [row] = read(tmp_path / "f.parquet")
    assert (row.problem.statement, row.problem.answer) == ("Which?\n\nA. red\nB. blue", "B")


def test_datasets_keep_the_same_rules(read, tmp_path):
    datasets = pytest.importorskip("datasets")
    kinds = {
        "question": "string",
        "id": "float64",
        "answer": "decimal128(5, 2)",
        "share": "float32",
        "day": "date32",
    }
    features = datasets.Features({name: datasets.Value(kind) for name, kind in kinds.items()})
    row = {"question": "Why?", "id": 3.0, "answer": Decimal("4.00"), "share": 0.1, "day": DAY}
    datasets.Dataset.from_list([row], features=features).save_to_disk(tmp_path / "d")
    [found] = read(tmp_path / "d")
    assert (found.problem.id, found.problem.answer) == ("3", "4.00")
    assert found.problem.metadata == {"share": "0.1", "day": "2024-01-02"}
