"""`--help` of every command: options in groups, no line wider than a terminal."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from rjepa_cli.commands.store.group import COMMANDS as STORE_COMMANDS
from rjepa_cli.help import GroupedCommand
from rjepa_cli.main import COMMANDS, TITLES, main

ALL = ("", *COMMANDS, *(f"store {name}" for name in STORE_COMMANDS))
GROUPS = ("", "store")


def find(name: str) -> tuple[click.Command, click.Context]:
    """A command by its words, with all its options, and a context of it."""
    command: click.Command = main
    context = click.Context(main, info_name="rjepa-cli", resilient_parsing=True)
    for word in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        command = found
        context = command.make_context(word, [], context, resilient_parsing=True)
    return context.command, context


def shown(name: str) -> str:
    result = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=80)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("name", ALL)
def test_fits_80_columns(name: str) -> None:
    assert [line for line in shown(name).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", [name for name in ALL if name not in GROUPS])
def test_every_option_stands_in_a_group(name: str) -> None:
    command, context = find(name)
    assert isinstance(command, GroupedCommand)
    if name == "extract":
        assert "\nOptions:" not in shown(name)
        return
    for param in command.get_params(context):
        if isinstance(param, click.Option):
            assert command.title_of(param) is not None, param.opts
    known = {option for param in command.get_params(context) for option in param.opts}
    for title, options in command.groups.items():
        unknown = (
            set(options) - known - ({"--by", "--plot"} if name in ("score", "rank") else set())
        )
        assert not unknown, title
    titles = re.findall(r"^(\S.*):$", shown(name), re.M)
    assert titles[-1] == "Other"
    assert "Options" not in titles


@pytest.mark.parametrize("name", GROUPS)
def test_the_commands_of_a_group(name: str) -> None:
    command, _ = find(name)
    assert isinstance(command, click.Group)
    for one in command.list_commands(click.Context(command)):
        assert re.search(rf"^  {one} +\S", shown(name), re.M), one


def test_every_command_has_a_title() -> None:
    titled = [name for names in TITLES.values() for name in names]
    assert set(COMMANDS) <= set(titled)
    assert len(titled) == len(set(titled))
