"""What `--help` says: on a terminal of 80 columns the line about each command is a whole sentence."""

from collections.abc import Iterator

import click

from vultus.cli.main import cli


def _groups(group: click.Group, context: click.Context) -> Iterator[tuple[str, dict[str, click.Command]]]:
    commands = {name: command for name in group.list_commands(context) if (command := group.get_command(context, name))}
    if group is not cli:  # whose lines are written by hand
        yield context.command_path, commands
    for name, command in commands.items():
        if isinstance(command, click.Group):
            yield from _groups(command, click.Context(command, parent=context, info_name=name))


def test_no_line_is_cut() -> None:
    groups = dict(_groups(cli, click.Context(cli, info_name="vultus")))
    assert len(groups) >= 9
    for path, commands in groups.items():
        room = 80 - 6 - max(map(len, commands))  # as click reckons
        for name, command in commands.items():
            assert not command.get_short_help_str(room).endswith("..."), f"{path} {name}"
