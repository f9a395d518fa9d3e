"""Settings of a command from its defaults, `--config`, `--set` and flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from .config import Layers
from .flags import Flag

CONFIG_OPTIONS = (
    click.Option(["--config"], metavar="FILE", help="YAML of settings; flags and --set go over it"),
    click.Option(
        ["--set"],
        multiple=True,
        metavar="KEY=VALUE",
        help="Any setting, an adapter's too: model.dtype=float32. Repeatable",
    ),
    click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks"),
)


def gather(ctx: click.Context, root: type[Any], flags: Sequence[Flag]) -> Layers:
    """All that was given, in layers: defaults, YAML file, then flags and `--set`."""
    layers = Layers(root, flags={flag.key: flag.name for flag in flags})
    params = ctx.params
    if params["config"]:
        layers.add_file(params["config"])
    given: list[tuple[str, str, Any]] = []
    for flag in flags:
        if ctx.get_parameter_source(flag.parameter) is ParameterSource.COMMANDLINE:
            value = params[flag.parameter]
            given.append((flag.key, flag.name, list(value) if type(value) is tuple else value))
    layers.add_given(params["set"], given)
    return layers
