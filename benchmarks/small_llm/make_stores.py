"""Write the problems' files, and extract the stores with the small LLM by `rjepa-cli`.

    OMP_NUM_THREADS=1 python benchmarks/small_llm/make_stores.py \
        --model runs/small-llm-model --problems runs/small-llm-problems --out runs/small-llm

Two stores: OUT holds eight samples of every problem, graded; OUT-given the worked solutions of some
of them, read by the LLM. Each has all parts, which `train` and `evaluate` tell apart again by the
hash of the statement (see `word_problems`). A run that was broken off goes on when it is started
again. For its few tokens of training the LLM is right in two of five problems of three steps, and
seldom in longer ones; so seven of ten problems here have three steps, their facts stand in an order
in which they can be worked out (in the corpus three of ten are shuffled), and the temperature is
0.7. The latents are those of each step's last token, which tell right samples from wrong ones
better than the mean does. Then `measure_stores.py` says how often the LLM is right and how sure its
slips are.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from word_problems import TEMPLATE, problems

# Problems to be solved, and worked solutions to be read, of each part.
SOLVED = {"train": 2000, "validation": 250, "test": 600}
GIVEN = {"train": 500, "validation": 100, "test": 300}
SEED = 1
# By these the LLM is right in about a third: as often as it can be with some of all lengths.
STEPS = (*[3] * 14, *[4] * 4, 5, 6)
TEMPERATURE = 0.7


def write_problems(folder: Path, counts: Mapping[str, int], name: str) -> list[Path]:
    """Write a file of each part; the first problems are the same however many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for part, count in counts.items():
        path = folder / f"{name}-{part}.jsonl"
        with path.open("w") as file:
            for index, one in enumerate(itertools.islice(problems(part, SEED, STEPS, 1.0), count)):
                row = {
                    "id": f"{part}-{index:04}",
                    "question": one.statement,
                    "answer": str(one.answer),
                    "solution": one.solution,
                    "template": one.template,
                    "operations": len(one.steps),
                }
                file.write(json.dumps(row) + "\n")
        written.append(path)
    return written


def commands(
    model: Path, folder: Path, out: Path, samples: int, temperature: float
) -> dict[Path, list[str]]:
    """The command that makes each store, by the store's place."""
    template = folder / "template.txt"
    shared = ["--model", str(model), "--dtype", "float32", "--prompt-template", str(template)]
    shared += ["--layer", "-1", "--pooling", "last", "--logprobs", "--grade", "--resume"]
    solved = write_problems(folder, SOLVED, "problems")
    given = write_problems(folder, GIVEN, "given")
    template.write_text(TEMPLATE)
    sampled = ["--samples", str(samples), "--temperature", str(temperature)]
    # Rows are short and the LLM is small: many at a time.
    sampled += ["--max-new-tokens", "200", "--scheduler", "fixed", "--batch-size", "256"]
    given_out = out.with_name(f"{out.name}-given")
    return {
        out: [*(word for path in solved for word in ("--problems", str(path))), *sampled, *shared],
        given_out: [*(word for path in given for word in ("--traces", str(path))), *shared],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--problems", type=Path, required=True, help="folder for the files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    args = parser.parse_args()
    made = commands(args.model, args.problems, args.out, args.samples, args.temperature)
    for place, words in made.items():
        command = ["rjepa-cli", "extract", *words, "--store", str(place)]
        print("$", *command, flush=True)
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "rjepa_cli", *command[1:]])
        if done.returncode:
            sys.exit(done.returncode)
        print(f"{place}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
