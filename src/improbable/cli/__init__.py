"""The command line: parse, call the public API, print.

Nothing heavy is imported before a command runs, so that help comes at once.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from improbable.cli import commands_model, commands_reasons, commands_rows
from improbable.cli.console import errors_as_lines


class Guarded(TyperGroup):
    """Commands whose errors are one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with errors_as_lines(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)


app = typer.Typer(
    name="improbable",
    cls=Guarded,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    commands_model.fit,
    commands_rows.score,
    commands_reasons.explain,
    commands_rows.reconstruct,
    commands_rows.impute,
    commands_rows.sample,
    commands_reasons.evaluate,
    commands_model.inspect,
    commands_model.version,
):
    app.command()(command)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Calibrated, explained anomaly detection without labels.

    \b
    improbable fit normal.csv -o model.safetensors
    improbable score new.csv -m model.safetensors -o scored.csv
    improbable explain new.csv -m model.safetensors
    """


def main() -> None:
    """Entry point of the command `improbable`."""
    app()
