"""The command that judges points as they come."""

from typing import Annotated

import typer

from improbable.cli.options import Alpha, ModelFile

Lines = Annotated[
    str,
    typer.Argument(
        metavar="[INPUT]",
        help="JSON Lines, a point each; - is standard input.",
        show_default=False,
    ),
]
Adapt = Annotated[
    bool, typer.Option("--adapt/--no-adapt", help="Let the threshold follow slow drift.")
]
Depth = Annotated[
    int,
    typer.Option(
        "--depth", metavar="POINTS", help="Scores whose mean --adapt takes off; 0 for none."
    ),
]
Join = Annotated[
    int,
    typer.Option("--join", metavar="POINTS", help="Points without alarm within one event."),
]
State = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="FILE",
        help="Go on from this state if it is there; at the end write it, also after Ctrl-C.",
    ),
]
AllPoints = Annotated[
    bool, typer.Option("--all", help="Write a line for every point, not for alarms only.")
]
Events = Annotated[
    bool, typer.Option("--events", help="Write a line for every event that is over instead.")
]


def watch(
    context: typer.Context,
    model: ModelFile,
    input: Lines = "-",
    alpha: Alpha = 0.01,
    adapt: Adapt = True,
    depth: Depth = 200,
    join: Join = 5,
    state: State = None,
    all: AllPoints = False,
    events: Events = False,
) -> None:
    """Judge points as they come, one JSON object a line.

    Writes a line for every alarm as soon as it is decided: position, time, score, p_value,
    threshold, reasons, and when an event begins and ends. Lines that cannot be read are
    reported and left out. A state goes on with the options that it began with, and refuses
    others.
    """
    from improbable.cli.watching import Said, open_stream, watch_lines
    from improbable.persistence import load
    from improbable.streams.readings import Rule

    said = Said.of(all=all, events=events)
    rule = Rule(alpha, adapt, depth, join)
    rule.check()
    asked = [name for name in vars(rule) if _is_given(context, name)]
    stream = open_stream(load(model), rule, state, asked)
    watch_lines(stream, input, said, state)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
