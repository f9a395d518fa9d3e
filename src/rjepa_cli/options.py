"""The options of `rjepa-cli extract` that do not depend on an adapter."""

from __future__ import annotations

import click

from rjepa_core.settings import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    RunSettings,
    SamplingSettings,
    StepSettings,
    StoreSettings,
)

from .flags import Flag

# As the settings classes have them.
_PLAIN = ExtractionSettings(model=ModelSettings(name="-"), store=StoreSettings(path="-"))
DEFAULTS = {
    "backend": _PLAIN.backend.name,
    "scheduler": _PLAIN.scheduler.name,
    "executor": _PLAIN.executor.name,
    "store": _PLAIN.store.name,
}
FLAGS = (
    Flag(
        "--problems",
        "problems.sources",
        ProblemSettings,
        metavar="FILE",
        extra="JSON Lines (.gz too), CSV, Parquet, a Hugging Face dataset, or demo; repeatable",
    ),
    Flag("--traces", "problems.traces", ProblemSettings, metavar="PATH", extra="Repeatable"),
    Flag("--domain", "problems.domain", ProblemSettings, metavar="NAME"),
    Flag("--keep-notes", "problems.keep_notes", ProblemSettings, on=True),
    Flag("--limit", "problems.limit", ProblemSettings),
    Flag("--samples", "problems.samples", ProblemSettings),
    Flag("--model", "model.name", ModelSettings, metavar="NAME"),
    Flag("--device", "model.device", ModelSettings),
    Flag("--dtype", "model.dtype", ModelSettings),
    Flag("--thinking", "prompt.thinking", PromptSettings, metavar="[on|off]"),
    Flag("--system", "prompt.system", PromptSettings),
    Flag("--max-new-tokens", "sampling.max_new_tokens", SamplingSettings),
    Flag("--temperature", "sampling.temperature", SamplingSettings),
    Flag("--top-p", "sampling.top_p", SamplingSettings),
    Flag("--top-k", "sampling.top_k", SamplingSettings),
    Flag("--seed", "sampling.seed", SamplingSettings),
    Flag("--stop", "sampling.stop", SamplingSettings, metavar="TEXT", extra="Repeatable"),
    Flag("--steps", "steps.strategy", StepSettings),
    Flag("--thinking-steps", "steps.thinking", StepSettings),
    Flag("--layer", "encoding.layers", EncodingSettings, metavar="N", extra="Repeatable"),
    Flag("--pooling", "encoding.pooling", EncodingSettings),
    Flag("--logprobs", "encoding.logprobs", EncodingSettings, on=True),
    Flag("--store-dtype", "encoding.store_dtype", EncodingSettings),
    Flag("--store", "store.path", StoreSettings, metavar="[NAME:]PLACE"),
    Flag(
        "--backend",
        "backend.name",
        AdapterSettings,
        metavar="NAME",
        extra=f"[default: {DEFAULTS['backend']}]",
    ),
    Flag(
        "--scheduler",
        "scheduler.name",
        AdapterSettings,
        metavar="NAME",
        extra=f"[default: {DEFAULTS['scheduler']}]",
    ),
    Flag(
        "--executor",
        "executor.name",
        AdapterSettings,
        metavar="NAME",
        extra=f"[default: {DEFAULTS['executor']}]",
    ),
    Flag("--resume", "run.resume", RunSettings, on=True),
    Flag("--retry-failed", "run.retry_failed", RunSettings, on=True),
    Flag("--allow-failures", "run.allow_failures", RunSettings, metavar="1%"),
    Flag("--max-hours", "run.max_hours", RunSettings),
    Flag("--force", "run.force", RunSettings, on=True),
)
OTHER_OPTIONS = (
    click.Option(
        ["--field"],
        multiple=True,
        metavar="OURS=THEIRS",
        help="Which of the source's fields holds ours: statement=question; "
        "statement=Body+Question joins two; id= for none. Repeatable",
    ),
    click.Option(
        ["--prompt-template"],
        multiple=True,
        metavar="[DOMAIN=]FILE",
        help="Text with {statement} once in it; without DOMAIN for every domain that has no "
        "template of its own (code has one). Repeatable",
    ),
    click.Option(["--config"], metavar="FILE", help="YAML of settings; flags and --set go over it"),
    click.Option(
        ["--set"],
        multiple=True,
        metavar="KEY=VALUE",
        help="Any setting, an adapter's too: backend.my_option=3. Repeatable",
    ),
    click.Option(["--dry-run"], is_flag=True, help="Try one batch; tell hours and disk; keep none"),
    click.Option(["--print-config"], is_flag=True, help="Print the settings as YAML and exit"),
    click.Option(["--json"], is_flag=True, help="Print one JSON object instead of text"),
    click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks"),
)
GROUPS = {
    "problems": "Problems",
    "model": "Model",
    "prompt": "Prompt",
    "sampling": "Sampling",
    "steps": "Steps",
    "encoding": "Vectors",
    "run": "Run",
}
