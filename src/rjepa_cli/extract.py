"""`rjepa-cli extract`: problems in, stored step latents out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click
from click.core import ParameterSource

from rjepa_core.errors import RJepaError, SettingsError, UsageError
from rjepa_core.opening import split_location
from rjepa_core.plugins import Adapter, BackendAdapter, Registry, SchedulerAdapter, StoreAdapter
from rjepa_core.prompts import DEFAULT_TEMPLATES
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
from rjepa_core.structuring import structure, unstructure

from .config import Layers, read_text, to_yaml
from .flags import Flag, flags_of
from .screen import Screen

# As the settings classes have them.
_PLAIN = ExtractionSettings(model=ModelSettings(name="-"), store=StoreSettings(path="-"))
DEFAULTS = {
    "backend": _PLAIN.backend.name,
    "scheduler": _PLAIN.scheduler.name,
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
    Flag("--steps", "steps.strategy", StepSettings),
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
    Flag("--resume", "run.resume", RunSettings, on=True),
    Flag("--retry-failed", "run.retry_failed", RunSettings, on=True),
    Flag("--allow-failures", "run.allow_failures", RunSettings, metavar="1%"),
    Flag("--max-hours", "run.max_hours", RunSettings),
)
OTHER_OPTIONS = (
    click.Option(
        ["--field"],
        multiple=True,
        metavar="OURS=THEIRS",
        help="Which of the source's fields holds ours: statement=question. Repeatable",
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
SECTIONS: tuple[tuple[str, type[Adapter]], ...] = (
    ("backend", BackendAdapter),
    ("scheduler", SchedulerAdapter),
    ("store", StoreAdapter),
)
EPILOG = """\b
Examples:
  rjepa-cli extract --problems demo --model smollm2 --store runs/demo
  rjepa-cli extract --problems gsm8k.jsonl --problems math.jsonl \\
      --model Qwen/Qwen3-8B-AWQ --store runs/qwen --batch-size 8 --resume
  rjepa-cli extract --traces solutions.jsonl --model smollm2 --store runs/given
  rjepa-cli extract --traces runs/given --layer -2 --layer -8 \\
      --model smollm2 --store runs/two-layers
  rjepa-cli extract --config extract.yaml --set scheduler.batch_size=16 --dry-run
  rjepa-cli extract --backend seeded --help      (the flags of another adapter)
"""


@attrs.define
class Chosen:
    """The adapters of a call, and the flags that their settings add."""

    registry: Registry
    names: dict[str, str]
    flags: list[Flag]
    trouble: str = ""
    arguments: tuple[str, ...] = ()


class ExtractCommand(click.Command):
    """Its options depend on the adapters that the arguments name."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        glance = super().make_context(
            info_name,
            list(args),
            parent,
            resilient_parsing=True,
            ignore_unknown_options=True,
            allow_extra_args=True,
            **extra,
        )
        chosen = _choose(glance.params, helping="--help" in args or "-h" in args)
        chosen.arguments = tuple(args)
        ready = _ReadyCommand(
            self.name,
            params=[*self.params, *(flag.option() for flag in chosen.flags)],
            callback=self.callback,
            help=self.help,
            epilog=self.epilog,
            context_settings=self.context_settings,
        )
        return ready.make_context(info_name, args, parent, obj=chosen, **extra)


class _ReadyCommand(click.Command):
    """Help in groups: the settings' sections, then each adapter's own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        chosen = ctx.find_object(Chosen)
        assert chosen is not None
        flags = {flag.parameter: flag for flag in (*FLAGS, *chosen.flags)}
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None:
                flag = flags.get(parameter.name or "")
                groups.setdefault(_group(parameter, flag, chosen), []).append(line)
        order = [*GROUPS.values(), *sorted(set(groups) - {*GROUPS.values(), "Other"}), "Other"]
        for title in order:
            if title in groups:
                with formatter.section(title):
                    formatter.write_dl(groups[title])
        if chosen.trouble:
            with formatter.section("Not shown"):
                formatter.write_text(chosen.trouble)


def _group(parameter: click.Parameter, flag: Flag | None, chosen: Chosen) -> str:
    if flag is None:
        special = {"field": "problems", "prompt_template": "prompt"}
        return GROUPS.get(special.get(parameter.name or "", ""), "Other")
    section = flag.key.partition(".")[0]
    if section in GROUPS:
        return GROUPS[section]
    return f"{section.capitalize()} ({chosen.names[section]})"


def _choose(params: dict[str, Any], helping: bool) -> Chosen:
    """Find the adapters which arguments and YAML file name; for help, as far as it goes."""
    registry = Registry()
    names = dict(DEFAULTS)
    chosen = Chosen(registry, names, [])
    sections: list[tuple[str, type[Any]]] = []
    try:
        names.update(_names(params))
        for section, kind in SECTIONS:
            sections.append((section, registry.find(kind, names[section]).settings))
    except RJepaError as error:
        if not helping:
            raise
        chosen.trouble = str(error)
    taken = [flag.name for flag in FLAGS] + [o.opts[0] for o in OTHER_OPTIONS]
    chosen.flags = flags_of(sections, taken)
    return chosen


def _names(params: dict[str, Any]) -> dict[str, str]:
    layers = Layers(ExtractionSettings)
    if params.get("config"):
        layers.add_file(params["config"])
    wanted = [
        (flag.key, flag.name, params[flag.parameter])
        for flag in FLAGS
        if flag.name in ("--backend", "--scheduler", "--store") and params.get(flag.parameter)
    ]
    layers.add_given(params.get("set") or (), wanted)
    names = {}
    for section, _ in SECTIONS:
        values = layers.tree.get(section)
        if isinstance(values, dict) and isinstance(values.get("name"), str):
            names[section] = values["name"]
    store = layers.tree.get("store")
    if isinstance(store, dict) and isinstance(store.get("path"), str):
        names["store"] = split_location(store["path"], names.get("store", DEFAULTS["store"]))[0]
    return names


def gather(ctx: click.Context, chosen: Chosen) -> Layers:
    """All that was given, in layers: defaults, YAML file, then flags and `--set`."""
    flags = [*FLAGS, *chosen.flags]
    layers = Layers(ExtractionSettings, flags={flag.key: flag.name for flag in flags})
    layers.tree["prompt"] = {"templates": dict(DEFAULT_TEMPLATES)}
    params = ctx.params
    if params["config"]:
        layers.add_file(params["config"])
    given: list[tuple[str, str, Any]] = [
        (flag.key, flag.name, _value(params[flag.parameter]))
        for flag in flags
        if ctx.get_parameter_source(flag.parameter) is ParameterSource.COMMANDLINE
    ]
    given.extend(_fields(params["field"]))
    given.extend(_templates(params["prompt_template"]))
    layers.add_given(params["set"], given)
    return layers


def _value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _fields(pairs: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not re.fullmatch(r"\w+", ours) or not theirs:
            raise SettingsError(
                f"--field {pair!r}: write it as OURS=THEIRS, for example statement=question"
            )
        yield f"problems.fields.{ours}", "--field", theirs


def _templates(values: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    for value in values:
        domain, equals, file = value.partition("=")
        if not equals or not re.fullmatch(r"[\w-]+", domain) or Path(value).exists():
            domain, file = "default", value
        text = read_text(file, "--prompt-template").rstrip("\n")
        yield f"prompt.templates.{domain}", f"--prompt-template {file}", text


def resolve(layers: Layers, chosen: Chosen) -> tuple[ExtractionSettings, dict[str, Any]]:
    """The settings, and the same as plain values with the adapters' own written out.

    Raises:
        SettingsError: naming key, place and what is wrong.
    """
    try:
        settings = structure(ExtractionSettings, layers.tree)
        plain = unstructure(settings)
        for section, kind in SECTIONS:
            adapter = chosen.registry.find(kind, chosen.names[section])
            own = adapter.configure(getattr(settings, section).options, section)
            plain[section].update(unstructure(own))
    except UsageError as error:
        raise layers.annotate(error) from None
    return settings, plain


@click.command(
    "extract",
    cls=ExtractCommand,
    params=[*(flag.option() for flag in FLAGS), *OTHER_OPTIONS],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> int:
    """Problems in, stored step latents out.

    The LLM solves each problem, or reads the solutions given with --traces; each step becomes one
    vector, and records go into the store as they are finished. Ctrl-C keeps what is finished;
    --resume goes on.
    """
    chosen = ctx.find_object(Chosen)
    assert chosen is not None
    layers = gather(ctx, chosen)
    settings, plain = resolve(layers, chosen)
    if params["print_config"]:
        click.echo(to_yaml(plain).rstrip())
        return 0
    from .running import run, try_out

    screen = Screen()
    try:
        if params["dry_run"]:
            return try_out(settings, chosen.registry, screen, params["json"])
        return run(settings, chosen.registry, screen, chosen.arguments, params["json"])
    except UsageError as error:
        raise layers.annotate(error) from None
