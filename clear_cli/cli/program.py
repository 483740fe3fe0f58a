"""The program itself: what it is called, its version, and how it finds a command."""

from __future__ import annotations

from typing import Annotated

import typer

from clear_cli import __version__
from clear_cli.cli.command import Commands
from clear_cli.cli.console import print_error

app = typer.Typer(
    name="clear-cli",
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Remove cross-modal redundancy from item embeddings before a multimodal recommender trains on them.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clear-cli {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  (handled by its callback)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print_error(context.get_help())
        raise typer.Exit(2)
