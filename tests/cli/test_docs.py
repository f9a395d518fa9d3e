"""The reference names every option and every setting."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_type_hints

import attrs
import click
import pytest

from rjepa_adapters.service.settings import HttpSettings
from rjepa_cli.commands.damage import DAMAGE_FLAGS
from rjepa_cli.commands.extract import OTHER_OPTIONS
from rjepa_cli.commands.serve import SERVE_FLAGS, service_flags
from rjepa_cli.commands.train import OTHER_OPTIONS as TRAIN_OPTIONS
from rjepa_cli.commands.train import TRAIN_FLAGS
from rjepa_cli.config import read_yaml
from rjepa_cli.config_comments import commented
from rjepa_cli.options import FLAGS, Flag, default_text, describe, type_text
from rjepa_cli.scoring_options import RANK_FLAGS
from rjepa_core.config import structure
from rjepa_core.evaluation import DamageSettings
from rjepa_core.plugins.hooks import (
    BackendAdapter,
    ExecutorAdapter,
    GraderAdapter,
    SchedulerAdapter,
    SourceAdapter,
    StoreAdapter,
)
from rjepa_core.plugins.registry import Registry
from rjepa_core.scoring.run import ScoreSettings
from rjepa_core.scoring.serving import ServeSettings
from rjepa_core.settings.extraction import ExtractionSettings, ModelSettings, StoreSettings
from rjepa_core.settings.training import TrainSettings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def rows() -> dict[str, str]:
    """Row of the settings' reference by key."""
    lines = (REFERENCE / "settings.md").read_text().splitlines()
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def test_every_setting_with_its_default() -> None:
    listed, hints = rows(), get_type_hints(ExtractionSettings)
    plain = ExtractionSettings(model=ModelSettings(name="-"), store=StoreSettings(path="-"))
    for section in attrs.fields(ExtractionSettings):
        for field in attrs.fields(hints[section.name]):
            if field.name != "options":
                cells = re.split(r"(?<!\\)\|", listed[f"{section.name}.{field.name}"])
                default = default_text(field)
                if field.default is attrs.NOTHING:
                    # A section that is not given may have a name all the same.
                    value = getattr(getattr(plain, section.name), field.name)
                    default = "required" if value == "-" else value
                assert cells[3].strip() == default


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        (BackendAdapter, "backend"),
        (SchedulerAdapter, "scheduler"),
        (ExecutorAdapter, "executor"),
        (StoreAdapter, "store"),
        (GraderAdapter, "grader"),
    ],
)
def test_every_setting_of_the_built_in_adapters(kind: type, section: str) -> None:
    listed = rows()
    built_in = {p.entry for p in Registry().plugins() if p.distribution == "rjepa"}
    for adapter in Registry().each(kind):
        if adapter.name in built_in:
            for field in attrs.fields(adapter.settings):
                assert f"{section}.{field.name}" in listed


def test_every_setting_of_the_sources() -> None:
    listed = rows()
    for adapter in Registry().each(SourceAdapter):
        for field in attrs.fields(adapter.settings):
            assert f"problems.{adapter.name}.{field.name}" in listed


def test_every_option() -> None:
    settings, commands = rows(), (REFERENCE / "cli.md").read_text()
    for flag in FLAGS:
        assert f"`{flag.name}`" in settings[flag.key]
    for option in OTHER_OPTIONS:
        assert option.opts[0] in commands


def test_every_setting_of_training() -> None:
    listed, hints = rows(), get_type_hints(TrainSettings)
    flags = {flag.key: flag.name for flag in TRAIN_FLAGS}
    for section in attrs.fields(TrainSettings):
        cls = hints[section.name]
        for field in attrs.fields(cls):
            key = f"{section.name}.{field.name}"
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", listed[key])]
            kind = type_text(get_type_hints(cls)[field.name], field).replace("|", "\\|")
            flag = f"`{flags[key]}`" if key in flags else ""
            assert cells[2:5] == [kind, default_text(field), flag], key
            assert cells[5] == describe(cls)[field.name]


def test_every_option_of_train() -> None:
    text = (REFERENCE / "cli.md").read_text()
    section = text[text.index("## `rjepa-cli train`") : text.index("## `rjepa-cli bench`")]
    for option in TRAIN_OPTIONS:
        if option.opts[0] != "--debug":
            assert f"| `{option.opts[0]}" in section


def test_example_of_training_is_the_default() -> None:
    example = REFERENCE.parent / "examples" / "train.yaml"
    values, lines = read_yaml(str(example))
    settings = structure(TrainSettings, values)
    assert settings == TrainSettings()
    printed = commented(TrainSettings())
    # Two lines say how to use it; all else is what --print-config prints.
    assert example.read_text().split("\n", 2)[2] == printed + "\n"
    sections = [s.name for s in attrs.fields(TrainSettings)]
    assert list(values) == sections
    for name in sections:
        cls = get_type_hints(TrainSettings)[name]
        assert list(values[name]) == [f.name for f in attrs.fields(cls)]
        assert all(f"{name}.{f.name}" in lines for f in attrs.fields(cls))


def test_every_option_of_the_store_commands() -> None:
    from rjepa_cli.commands.store.group import COMMANDS, command

    text = (REFERENCE / "cli.md").read_text()
    context = click.Context(command)
    for name in COMMANDS:
        one = command.get_command(context, name)
        assert one is not None
        assert f"rjepa-cli store {name} " in text
        for parameter in one.params:
            if isinstance(parameter, click.Option):
                assert f"`{parameter.opts[0]}" in text, parameter.opts


@pytest.mark.parametrize(
    ("cls", "section", "flags"),
    [
        (ServeSettings, "serve", SERVE_FLAGS),
        (HttpSettings, "service", service_flags()),
        (ScoreSettings, "score", RANK_FLAGS),
        (DamageSettings, "damage", DAMAGE_FLAGS),
    ],
)
def test_every_setting_of_serving_scoring_and_damage(
    cls: type, section: str, flags: Sequence[Flag]
) -> None:
    listed, names = rows(), {flag.key: flag.name for flag in flags}
    for field in attrs.fields(cls):
        key = f"{section}.{field.name}"
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", listed[key])]
        kind = type_text(get_type_hints(cls)[field.name], field).replace("|", "\\|")
        flag = f"`{names[key]}`" if key in names else ""
        assert cells[2:6] == [kind, default_text(field), flag, describe(cls)[field.name]], key


def test_every_option_of_grade() -> None:
    from rjepa_cli.commands.grade import command

    text = (REFERENCE / "cli.md").read_text()
    section = text[text.index("## `rjepa-cli grade`") : text.index("## `rjepa-cli store`")]
    for option in command.params:
        if isinstance(option, click.Option) and option.opts[0] != "--debug":
            assert f"| `{option.opts[0]}" in section, option.opts


def test_every_option_of_damage() -> None:
    from rjepa_cli.commands.damage import command

    text = (REFERENCE / "cli.md").read_text()
    section = text[text.index("## `rjepa-cli damage`") : text.index("## `rjepa-cli train`")]
    for option in command.params:
        if isinstance(option, click.Option) and option.opts[0] != "--debug":
            assert f"| `{option.opts[0]}" in section, option.opts


@pytest.mark.parametrize("name", ["score", "rank", "serve"])
def test_every_option_of_scoring_and_serving(name: str) -> None:
    text, settings = (REFERENCE / "cli.md").read_text(), (REFERENCE / "settings.md").read_text()
    section = text[text.index(f"## `rjepa-cli {name}`") :]
    # What `rank` shares with `score` stands there.
    section = section[: section.index("## `rjepa-cli bench`")]
    if name == "rank":
        section = text[text.index("## `rjepa-cli score`") :]
    command = importlib.import_module(f"rjepa_cli.commands.{name}").command
    for option in command.get_params(click.Context(command)):
        if isinstance(option, click.Option) and not {"--debug", "--help"} & set(option.opts):
            own = f"`{option.opts[0]}`" in settings
            assert own or f"`{option.opts[0]}" in section, option.opts


def test_every_problem_is_one_that_the_service_lists() -> None:
    from rjepa_adapters.service import problem_details as problems

    kinds = [one for one in vars(problems).values() if isinstance(one, problems.ProblemKind)]
    assert sorted(kind.name for kind in kinds) == sorted(kind.name for kind in problems.KINDS)
    assert len({kind.name for kind in kinds}) == len(kinds)
