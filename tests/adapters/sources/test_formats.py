"""The file formats agree with one another, stream, and can be read again."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rjepa_core.domain.problem import derived_id

RECORDS = [
    {"question": "Why, and\nhow?", "answer": "one\ntwo\n#### 2", "note": "a"},
    {"question": 'He said "no".', "answer": "4", "note": ""},
    {"question": "Größe 😀\u2028?", "answer": "5", "note": "b,c"},
]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_formats_agree(kind, writers, read, tmp_path):
    rows = read(writers[kind](tmp_path / f"f.{kind}", RECORDS))
    expected = read(writers["jsonl"](tmp_path / "expected.jsonl", RECORDS))
    assert [row.problem for row in rows] == [row.problem for row in expected]
    assert [row.problem.answer for row in rows] == ["2", "4", "5"]


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("jsonl", ["f.jsonl:1", "f.jsonl:2", "f.jsonl:3"]),
        # The first record stands on four lines.
        ("csv", ["f.csv:2", "f.csv:6", "f.csv:7"]),
        ("parquet", ["f.parquet, row 1", "f.parquet, row 2", "f.parquet, row 3"]),
    ],
)
def test_rows_say_where_they_stood(kind, places, writers, read, tmp_path):
    rows = read(writers[kind](tmp_path / f"f.{kind}", RECORDS))
    assert [row.where for row in rows] == [str(tmp_path / place) for place in places]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_sources_can_be_read_again_and_in_parallel(kind, writers, open_source, tmp_path):
    source = open_source(writers[kind](tmp_path / f"f.{kind}", RECORDS))
    abandoned = source.rows()
    next(abandoned)
    again = list(source.rows())
    assert list(source.rows()) == again
    assert list(abandoned) == again[1:]


@pytest.mark.parametrize("name", ["f.jsonl", "f.ndjson", "f.json", "f.JSONL", "f.txt", "f"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_lines_by_any_name(name, zipped, mark, read, tmp_path):
    data = mark + b'\r\n{"question": "a"}\r\n\r\n{"question": "b"}'
    path = tmp_path / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(data) if zipped else data)
    assert [row.problem.statement for row in read(path)] == ["a", "b"]


def test_gzip_is_known_by_its_content(read, tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(gzip.compress(b'{"question": "a"}\n'))
    assert [row.problem.statement for row in read(path)] == ["a"]


def test_parquet_is_known_by_its_content(writers, read, tmp_path):
    path = writers["parquet"](tmp_path / "f.parquet", RECORDS)
    assert len(read(path.rename(tmp_path / "f.data"))) == 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiters_are_found(delimiter, writers, read, tmp_path):
    writers["csv"](tmp_path / "f.csv", RECORDS, delimiter)
    rows = read(tmp_path / "f.csv")
    assert [row.problem.statement for row in rows] == [r["question"] for r in RECORDS]


def test_csv_delimiter_by_setting(writers, read, tmp_path):
    path = writers["csv"](tmp_path / "f.csv", RECORDS, "|")
    assert len(read(path, {"delimiter": "|"})) == 3


def test_csv_with_mark_blank_lines_index_and_long_cells(read, tmp_path):
    path = tmp_path / "f.csv"
    text = "\ufeff\n,Question \n0,a\n\n1," + "b" * 200_000 + "\n"
    path.write_text(text, encoding="utf-8")
    rows = read(path)
    assert [len(row.problem.statement) for row in rows] == [1, 200_000]
    assert [row.where for row in rows] == [f"{path}:3", f"{path}:5"]
    assert rows[0].problem.metadata == {}


def test_csv_gaps_mean_none(read, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("id,question,domain,answer\n,Why?,,\n")
    [row] = read(path)
    assert row.problem.id == derived_id("math", "Why?")
    assert (row.problem.domain, row.problem.answer) == ("math", None)


def test_parquet_steps_and_whole_numbers_with_gaps(writers, read, tmp_path):
    records = [
        {"question": "a", "id": 1.0, "steps": ["x", "y"]},
        {"question": "b", "id": None, "steps": ["z"]},
    ]
    rows = read(writers["parquet"](tmp_path / "f.parquet", records), traces=("here",))
    assert [row.problem.id for row in rows] == ["1", derived_id("math", "b")]
    assert [row.solutions[0].steps for row in rows] == [("x", "y"), ("z",)]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_files_stream(kind, writers, open_source, tmp_path):
    records = [{"question": f"{n} " + "x" * 2000} for n in range(4000)]
    path = writers[kind](tmp_path / f"f.{kind}", records)
    assert path.stat().st_size > 8e6
    source = open_source(path)
    del records
    tracemalloc.start()
    assert sum(1 for _ in source.rows()) == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6


statements = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
        str.strip
    ),
    min_size=1,
    max_size=5,
)
few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@given(texts=statements)
def test_derived_ids_are_equal_across_formats(texts, writers, read, tmp_path):
    records = [{"question": text, "answer": "1"} for text in texts]
    expected = [derived_id("math", text) for text in texts]
    for kind in ("jsonl", "csv", "parquet"):
        rows = read(writers[kind](tmp_path / f"f.{kind}", records))
        assert [row.problem.id for row in rows] == expected, kind
        assert [row.problem.statement for row in rows] == texts, kind


@few
@given(texts=statements, order=st.randoms(use_true_random=False), cut=st.integers(0, 5))
def test_ids_do_not_depend_on_order_or_splitting(texts, order, cut, writers, read, tmp_path):
    records = [{"question": text} for text in texts]
    whole = read(writers["jsonl"](tmp_path / "whole.jsonl", records))
    ids = {row.problem.statement: row.problem.id for row in whole}
    order.shuffle(records)
    for part in (records[:cut], records[cut:]):
        if part:
            for row in read(writers["jsonl"](tmp_path / "part.jsonl", part)):
                assert row.problem.id == ids[row.problem.statement]


def test_real_problems_are_the_same_in_all_formats(writers, read, shared_data, tmp_path):
    with (shared_data / "gsm8k_train.jsonl").open(encoding="utf-8") as stream:
        records = [json.loads(next(stream)) for _ in range(500)]
    found = [
        read(write(tmp_path / f"f.{kind}", records), traces=("here",))
        for kind, write in writers.items()
    ]
    jsonl, csv, parquet = ([(r.problem, r.solutions) for r in rows] for rows in found)
    assert jsonl == csv == parquet
