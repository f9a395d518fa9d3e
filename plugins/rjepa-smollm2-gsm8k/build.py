"""Make the run that this package ships, and the figures on its card.

    python plugins/rjepa-smollm2-gsm8k/build.py GSM8K_TRAIN.jsonl [--work FOLDER] [--train 6000]

Reads the first solutions of each part with SmolLM2 (what is read already is not read again), trains
on them, keeps the weights as float16, evaluates what is shipped on the test part and writes the
figures into README.md. 6,000 solutions of the training part take about an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rjepa_adapters.world_model import checkpoint
from rjepa_adapters.world_model.inference import find_checkpoint
from rjepa_adapters.world_model.network import STATISTICS
from rjepa_core.domain.problem import Split, split_of, statement_hash
from rjepa_core.evaluation.text import markdown

HERE = Path(__file__).parent
NAME = "gsm8k-smollm2"
RUN = HERE / "src" / "rjepa_smollm2_gsm8k" / NAME
CARD = HERE / "README.md"
# A small transformer beside the linear path, which is what predicts.
SETTINGS = ["width=64", "depth=1", "heads=2", "predictor_width=64", "predictor_depth=1"]
SETTINGS += ["predictor_heads=2", "max_steps=16"]


def choose(problems: Path, target: Path, wanted: dict[Split, int]) -> None:
    """Write the first rows of each part, the test part first."""
    rows: dict[Split, list[str]] = {split: [] for split in wanted}
    for line in problems.read_text(encoding="utf-8").splitlines():
        split = split_of(statement_hash(json.loads(line)["question"]))
        if len(rows[split]) < wanted[split]:
            rows[split].append(line)
    text = "\n".join(line for split in wanted for line in rows[split])
    target.write_text(text + "\n", encoding="utf-8")


def cli(work: Path, *args: str) -> None:
    """Run a command in the working folder, so that a run names its store as a user would."""
    subprocess.run([sys.executable, "-m", "rjepa_cli", *args], cwd=work, check=True)


def ship(trained: Path) -> None:
    """Write the best checkpoint alone, its weights as float16, without what training needs."""
    best = find_checkpoint(trained, print)
    tensors = {
        name: values if name.startswith(STATISTICS) else values.half()
        for name, values in best.model.items()
    }
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    shutil.copy(trained / "config.yaml", RUN)
    place = checkpoint.write(RUN, int(best.state["step"]), tensors, {}, best.state)
    named = json.loads((trained / checkpoint.BEST).read_text(encoding="utf-8"))
    named.pop("checkpoint")
    checkpoint.name_best(RUN, place, named)
    for file in place.iterdir():
        file.chmod(0o644)


def write_card(work: Path) -> None:
    """Put the figures of the evaluation on the card."""
    facts = json.loads((work / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    for one in facts["world_models"].values():
        one["location"] = NAME
    text = json.dumps(facts, indent=1) + "\n"
    (RUN / "evaluation.json").write_text(text, encoding="utf-8")
    begin, end = "<!-- figures -->", "<!-- end of figures -->"
    # The leading figures; all of them are in the file.
    found = markdown(facts).partition("### ")[0].strip()
    card = CARD.read_text(encoding="utf-8")
    pattern = re.compile(f"{begin}.*{end}", re.S)
    CARD.write_text(pattern.sub(lambda _: f"{begin}\n{found}\n{end}", card), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", type=Path, help="GSM8K's training split, as JSON Lines")
    parser.add_argument("--work", type=Path, default=Path("runs/gsm8k-smollm2"))
    parser.add_argument("--train", type=int, default=6000, help="solutions to train on")
    parser.add_argument("--validation", type=int, default=700)
    parser.add_argument("--test", type=int, default=750)
    parser.add_argument("--damaged", type=int, default=0, help="solutions of each kind of damage")
    args = parser.parse_args()
    work = args.work.resolve()
    (work / "runs").mkdir(parents=True, exist_ok=True)
    wanted = {
        Split.TEST: args.test,
        Split.VALIDATION: args.validation,
        Split.TRAIN: args.train,
    }
    choose(args.problems, work / "solutions.jsonl", wanted)
    model = ["--model", "smollm2"]
    cli(work, "extract", "--resume", "--traces", "solutions.jsonl", *model, "--store", "gsm8k")
    trained = work / "runs" / NAME
    shutil.rmtree(trained, ignore_errors=True)
    chosen = [part for one in SETTINGS for part in ("--set", f"model.{one}")]
    cli(work, "train", "--store", "gsm8k", "--epochs", "6", "--out", f"runs/{NAME}", *chosen)
    ship(trained)
    shutil.rmtree(work / "evaluation", ignore_errors=True)
    parts = ["--parts", "prediction"]
    if args.damaged:
        parts = ["--parts", "prediction,damage", "--damage", "foreign", *model]
        parts += ["--damaged", str(args.damaged)]
    cli(work, "evaluate", "--world-model", str(RUN), "--store", "gsm8k", "--split", "test",
        "--out", "evaluation", *parts)  # fmt: skip
    write_card(work)


if __name__ == "__main__":
    main()
