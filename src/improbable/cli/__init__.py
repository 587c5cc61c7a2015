"""The command line: parse, call the public API, print.

Nothing heavy is imported before a command runs, so that help comes at once.
"""

from collections.abc import Callable
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


EXAMPLES: dict[Callable[..., None], str] = {
    commands_model.fit: "fit normal.csv -o model.safetensors",
    commands_rows.score: "score new.parquet -m model.safetensors -o scored.parquet --alpha 0.01",
    commands_reasons.explain: "explain new.csv -m model.safetensors --row 17",
    commands_rows.reconstruct: "reconstruct new.csv -m model.safetensors -o decoded.csv",
    commands_rows.impute: "impute holes.csv -m model.safetensors -o filled.csv",
    commands_rows.sample: "sample -m model.safetensors -n 1000 -o new.csv",
    commands_reasons.evaluate: (
        "evaluate labeled.csv -m model.safetensors --label is_anomaly --normal 0"
    ),
    commands_model.inspect: "inspect model.safetensors",
    commands_model.version: "version",
}

app = typer.Typer(
    name="improbable",
    cls=Guarded,
    epilog="Start with: improbable fit normal.csv -o model.safetensors",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: improbable {example}")(command)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Calibrated, explained anomaly detection without labels."""


def main() -> None:
    """Entry point of the command `improbable`."""
    app()
