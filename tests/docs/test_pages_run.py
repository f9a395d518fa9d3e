"""Pages followed from their first block to their last, with a backend that needs no weights.

Where a page shows what a large run printed, what is printed here is not compared with it.
"""

from __future__ import annotations

import json
import os
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from evaluation_stores import solution, statement, write_labelled, write_solutions
from pages import Command, Page, check_shown, follow, parts, replaced, run_command
from services import client, make_trained, opened, running

from rjepa_core import AdapterSettings

SEEDED = {
    "--model smollm2": "--model m --backend seeded",
    'model="smollm2"': 'model="m", backend=AdapterSettings(name="seeded")',
}
SMALL = "--epochs 2 --set model.width=16 --set model.heads=2 --set model.depth=1"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def commands(page: Page) -> list[Command]:
    return [part for part in parts(page) if isinstance(part, Command)]


def run_code(page: Page, instead: dict[str, str]) -> None:
    for code in page.take("python"):
        exec(replaced(code, instead), {"AdapterSettings": AdapterSettings})


def test_first_latents() -> None:
    page = Page("tutorial/first-latents.md")
    instead = {**SEEDED, "--epochs 20 --set model.width=64": SMALL}
    extract, show, record, train, surprise = commands(page)
    for command in (extract, show, record):
        check_shown(command, run_command(command, instead))
    run_code(page, instead)
    for command in (train, surprise):
        check_shown(command, run_command(command, instead))
    assert Path("world-model/report.html").exists()
    page.finish()


@pytest.mark.slow
@pytest.mark.smollm2
def test_first_latents_with_the_model_of_the_page(tmp_path: Path) -> None:
    page = Page("tutorial/first-latents.md")
    assert len(follow(page, tmp_path, os.environ)) == 5
    run_code(page, {})
    page.finish()


def test_train_a_world_model() -> None:
    page = Page("how-to/train-a-world-model.md")
    given, labelled = (json.loads(row) for row in page.take("json"))
    assert set(given) == {"question", "answer"}
    assert set(labelled) == {"question", "solution", "correct"}
    rows = [{"question": statement(i), "answer": solution(i + 2)} for i in range(40)]
    Path("gsm8k_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [given, *rows]))
    write_labelled(Path("labelled.jsonl"), 8)
    with Path("labelled.jsonl").open("a") as file:
        file.write(json.dumps(labelled) + "\n")
    instead = {
        **SEEDED,
        "--out runs/wm": f"--out runs/wm {SMALL}",
        "--out runs/verifier": f"--out runs/verifier {SMALL}",
        "--problems 100": "--problems 8",
        "rjepa-cli evaluate": "rjepa-cli evaluate --set evaluate.draws=20",
    }
    for command in commands(page):
        line = command.line
        if "--resume" in line:
            run_command(Command(line, ()), SEEDED)
            continue
        if " ID " in line:
            shown = run_command(Command("rjepa-cli show runs/gsm8k --json", ()), {})
            first = json.loads(shown)["first"][0]["id"]
            line = line.replace(" ID ", f" {first} ")
        run_command(Command(line, ()), instead)
    run_code(page, {"max_epochs=10": "max_epochs=1"})
    page.finish()


def test_extract_your_own_problems() -> None:
    page = Page("how-to/extract-your-own-problems.md")
    for command in commands(page):
        words = shlex.split(command.line.split("<<")[0])
        if words[0] == "cat":
            rows = command.shown[: command.shown.index("END")]
            Path(words[2]).write_text("".join(f"{row}\n" for row in rows))
        else:
            run_command(command, SEEDED)
    run_code(page, SEEDED)
    page.finish()


def test_extract_faster() -> None:
    page = Page("how-to/extract-faster.md")
    write_solutions(Path("gsm8k.jsonl"), 6)
    instead = {**SEEDED, "--limit 256": "--limit 4", "--sizes 32,64,128": "--sizes 2,4"}
    for command in commands(page):
        run_command(command, instead)
    page.finish()


def test_measure_your_machine() -> None:
    page = Page("how-to/measure-your-machine.md")
    write_solutions(Path("gsm8k_train.jsonl"), 6)
    [command] = commands(page)
    table = run_command(command, {**SEEDED, "--limit 16": "--limit 4 --sizes 1,2"})
    assert command.shown[2].split() == table.splitlines()[2].split()
    assert Path("docs/benchmarks/smollm2-cpu/bench.html").exists()
    page.finish()


def test_look_after_a_store() -> None:
    page = Page("how-to/look-after-a-store.md")
    for name in ("gsm8k", "part-1", "part-2"):
        write_solutions(Path(f"{name}.jsonl"), 4, first=4 if name == "part-2" else 0)
    first = "rjepa-cli extract --problems gsm8k.jsonl --model NAME --store runs/qwen"
    instead = {
        "--model NAME": "--model m --backend seeded",
        "--model Qwen/Qwen3-8B-AWQ": "--model m --backend seeded",
        "--layer 35 ": "",
        "NEW_STORE": "runs/new",
    }
    run_command(Command(first, ()), instead)
    printed = "".join(run_command(command, instead) for command in commands(page))
    assert "merged: 8 records added" in printed
    run_code(page, {'"shards"': '"more-shards"'})
    page.finish()


def test_serve() -> None:
    page = Page("how-to/serve.md")
    home = Path("home")
    home.mkdir()
    store, run = make_trained(home)
    with (
        opened(run, store, model="m") as served,
        running(served) as address,
        client(address) as caller,
    ):
        instead = {"http://127.0.0.1:8100": address, "runs/gsm8k": store}
        for command in commands(page):
            words = shlex.split(command.line.split("<<")[0])
            if words[0] == "rjepa-cli":
                run_command(command, instead)
            elif words[0] == "python":
                code = "\n".join(command.shown[: command.shown.index("END")])
                with Path("body.json").open("w") as file, redirect_stdout(file):
                    exec(replaced(code, instead), {})
            else:
                assert words[:2] == ["curl", "-s"]
                body = words[words.index("-d") + 1]
                text = Path(body[1:]).read_text() if body.startswith("@") else body
                path = words[2].removeprefix("localhost:8100")
                answer = caller.post(path, json=json.loads(text))
                assert answer.status_code == 200, answer.text
                assert set(answer.json()) >= set(json.loads(command.shown[0]))
        run_code(page, instead)
    page.finish()


def test_use_from_python() -> None:
    page = Page("how-to/use-from-python.md")
    run_code(page, {})
    page.finish()
