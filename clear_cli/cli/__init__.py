"""The command line: `app`, with all its commands.

- `program` is what finds a command, `fits` and `outputs` are the commands;
- `options` says what each option is called and takes, `arguments` reads their values, `command` finds them on the
  command line, in the environment or in a file (`configfile`), `complaints` makes errors of ours of Typer's;
- `console` is the only writer to stdout and stderr, `texts` and `side_by_side` make results text.
"""

from clear_cli.cli import fits, outputs
from clear_cli.cli.program import app

__all__ = ["app", "fits", "outputs"]
