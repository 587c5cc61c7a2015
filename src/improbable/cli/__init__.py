"""The command line: parse, call the public API, print.

Nothing heavy is imported before a command runs, so that help comes at once.
"""

import signal
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from improbable.cli import (
    commands_directions,
    commands_latent,
    commands_model,
    commands_neighbors,
    commands_plot,
    commands_reasons,
    commands_rows,
    commands_stream,
)
from improbable.cli.console import errors_as_lines, hinting_at_patterns


class Guarded(TyperGroup):
    """Commands whose errors are one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with errors_as_lines(debug=bool(ctx.params.get("debug"))), hinting_at_patterns():
            return super().invoke(ctx)


EXAMPLES: dict[Callable[..., None], str] = {
    commands_model.fit: "fit normal.csv -o model.safetensors",
    commands_model.refit: "refit more.csv -m model.safetensors -o newer.safetensors",
    commands_rows.score: "score new.parquet -m model.safetensors -o scored.parquet --alpha 0.01",
    commands_stream.watch: "watch points.jsonl -m model.safetensors --state state.safetensors",
    commands_reasons.explain: "explain new.csv -m model.safetensors --row 17",
    commands_rows.reconstruct: "reconstruct new.csv -m model.safetensors -o decoded.csv",
    commands_rows.impute: "impute holes.csv -m model.safetensors -o filled.csv",
    commands_rows.sample: "sample -m model.safetensors -n 1000 --given sex=F -o new.csv",
    commands_latent.decode: "decode -m model.safetensors --z 0.5,-1 --z 0,0 -o decoded.csv",
    commands_latent.traverse: "traverse new.csv -m model.safetensors --row 3 --dim 0 -o moved.csv",
    commands_latent.interpolate: (
        "interpolate images/ -m model.safetensors --from 3 --to 17 -n 10 -o strip.png"
    ),
    commands_latent.steer: "steer new.csv -m model.safetensors --direction male --amount 1.5",
    commands_latent.latent: "latent new.csv -m model.safetensors",
    commands_latent.cluster: "cluster new.csv -m model.safetensors -k 5 -o grouped.csv",
    commands_reasons.evaluate: (
        "evaluate labeled.csv -m model.safetensors --label is_anomaly --normal 0"
    ),
    commands_model.inspect: "inspect model.safetensors",
    commands_model.version: "version",
}

GROUPS: dict[str, tuple[str, dict[str, tuple[Callable[..., None], str]]]] = {
    "directions": (
        "Name what sets some rows apart, for steer to add it to others.",
        {
            "add": (
                commands_directions.add,
                "new.csv -m model.safetensors --name male --column sex --with M --without F",
            ),
            "list": (commands_directions.list_directions, "-m model.safetensors"),
            "remove": (commands_directions.remove, "-m model.safetensors --name male"),
        },
    ),
    "neighbors": (
        "Search rows by where they lie in latent space.",
        {
            "build": (commands_neighbors.build, "new.csv -m model.safetensors -o items.parquet"),
            "add": (commands_neighbors.add, "more.csv -m model.safetensors --index items.parquet"),
            "remove": (commands_neighbors.remove, "--index items.parquet --id 17"),
            "search": (
                commands_neighbors.search,
                "new.csv -m model.safetensors --index items.parquet --row 3 -k 5 --where sex=F",
            ),
        },
    ),
    "plot": (
        "Draw a picture of a model, or of rows as it sees them.",
        {
            "map": (
                commands_plot.draw_map,
                "new.csv -m model.safetensors --color score -o map.png",
            ),
            "p-values": (
                commands_plot.draw_p_values,
                "new.csv -m model.safetensors -o p-values.png",
            ),
            "training": (commands_plot.draw_training, "-m model.safetensors -o training.png"),
            "samples": (commands_plot.draw_samples, "-m model.safetensors -n 10 -o samples.png"),
            "surprise": (
                commands_plot.draw_surprise,
                "images/ -m model.safetensors -n 5 -o surprise.png",
            ),
            "traversals": (
                commands_plot.draw_traversals,
                "images/ -m model.safetensors --row 3 -o traversals.png",
            ),
        },
    ),
}

STYLE: dict[str, Any] = {
    "add_completion": False,
    "no_args_is_help": True,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

app = typer.Typer(
    name="improbable",
    cls=Guarded,
    epilog="Start with: improbable fit normal.csv -o model.safetensors",
    **STYLE,
)


def _add_group(name: str, about: str, members: dict[str, tuple[Callable[..., None], str]]) -> None:
    """Give the app a group of commands."""
    examples = {
        member: f"Example: improbable {name} {member} {example}"
        for member, (_, example) in members.items()
    }
    group = typer.Typer(help=about, epilog=next(iter(examples.values())), **STYLE)
    for member, (command, _) in members.items():
        group.command(member, epilog=examples[member])(command)
    app.add_typer(group, name=name)


for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: improbable {example}")(command)
for name, (about, members) in GROUPS.items():
    _add_group(name, about, members)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Calibrated, explained anomaly detection without labels."""


def main() -> None:
    """Entry point of the command `improbable`; ended by SIGTERM it leaves nothing half-written."""
    signal.signal(signal.SIGTERM, _ended)
    app()


def _ended(number: int, _: Any) -> None:
    raise SystemExit(128 + number)
