"""`rjepa-cli damage`: damaged solutions, for a verifier to learn from."""

from __future__ import annotations

from typing import Any

import attrs
import click

from rjepa_core.config import structure
from rjepa_core.evaluation import DamageRunSettings, DamageSettings, EvaluationWatch, damage_store
from rjepa_core.evaluation.corruption import KINDS
from rjepa_core.plugins import Registry
from rjepa_core.settings import ModelSettings
from rjepa_core.text import count, shell_word

from ..completion import stores
from ..config import CONFIG_OPTIONS, JSON, gather
from ..console import Screen
from ..errors import InterruptedRunError
from ..help import GroupedCommand
from ..options import FLAGS, Flag
from ..signals import Interrupts
from .evaluate import Stages

DONE, SOME_LEFT_OUT = 0, 3
DAMAGE_FLAGS = (
    Flag("--split", "damage.split", DamageSettings),
    Flag("--problems", "damage.problems", DamageSettings),
    Flag(
        "--kinds",
        "damage.kinds",
        DamageSettings,
        metavar="KIND,…",
        extra=f"Of {', '.join(KINDS)}",
        commas=True,
        among=KINDS,
    ),
    Flag("--seed", "damage.seed", DamageSettings),
    Flag("--model", "model.name", ModelSettings, metavar="NAME"),
    Flag("--device", "damage.device", DamageSettings),
    *(flag for flag in FLAGS if flag.name in ("--backend", "--scheduler")),
)
_GROUPS = {
    "What is damaged": ["--split", "--problems", "--kinds", "--seed"],
    "Model": ["--model", "--device", "--backend", "--scheduler"],
}
EPILOG = """\b
Examples:
  rjepa-cli damage runs/gsm8k --model smollm2
  rjepa-cli damage runs/gsm8k --model smollm2 --split validation --problems 99
  rjepa-cli train --objective verifier --store runs/gsm8k.damage-train \\
      --store runs/gsm8k.damage-validation --out runs/verifier

\b
hf:USER/NAME stands for a store on the Hugging Face Hub; what is made from it
lies here, in USER--NAME.damage-train.

\b
Exit codes: 0 all are encoded; 3 some could not be; 130 interrupted: the same
command goes on.
"""


@click.command(
    "damage",
    cls=GroupedCommand,
    groups=_GROUPS,
    params=[
        click.Argument(["store"], metavar="STORE", shell_complete=stores),
        *(flag.option() for flag in DAMAGE_FLAGS),
        JSON,
        *CONFIG_OPTIONS,
    ],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, store: str, **params: Any) -> int:
    """Make damaged solutions of the correct ones in STORE, for a verifier to learn from.

    Seven kinds of damage, each with the step that is wrong, beside harmless edits and the
    unchanged solutions, are read by the LLM as STORE was, into STORE.damage-train (or
    STORE.damage-validation). `rjepa-cli evaluate` makes the same ones.
    """
    settings = structure(DamageRunSettings, gather(ctx, DamageRunSettings, DAMAGE_FLAGS))
    screen = Screen()
    with screen, Interrupts("encoded solutions are kept") as interrupts:
        try:
            with Stages(screen, interrupts) as stages:
                watch = EvaluationWatch(
                    say=screen.busy,
                    warn=screen.warn,
                    report=stages.report,
                    encode=stages.encode,
                )
                done = damage_store(store, settings, Registry(), watch)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "interrupted; solutions that were encoded are kept, and the same command goes on"
            ) from None
    if params["json"]:
        screen.json(attrs.asdict(done))
    else:
        lines = [f"{name}: {number:,}" for name, number in done.kinds.items()]
        if done.failed:
            lines.append(f"could not be encoded: {count(done.failed, 'solution')}")
        screen.result(*lines, f"store: {shell_word(done.location)}")
    return SOME_LEFT_OUT if done.failed else DONE
