"""Commands that speak of z: rows out of latent space, and groups in it."""

from typing import Annotated

import typer

from improbable.cli.console import counted, print_either, report, rows_bar
from improbable.cli.options import (
    DEFAULT_BATCH_ROWS,
    About,
    Array,
    BatchRows,
    Centers,
    ClusterCount,
    DivergenceName,
    Hierarchy,
    Input,
    InputFormat,
    Json,
    Linkage,
    Merges,
    ModelFile,
    OptionalInput,
    Output,
    OutputFormat,
    Points,
    Prefix,
    RowsOutput,
    Seed,
    Shown,
    SomeRows,
)

PATHS = ("linear", "slerp", "geodesic")


def decode(
    model: ModelFile,
    input: Annotated[
        str | None,
        typer.Argument(
            metavar="POINTS",
            help="Points, one a row: a table or an .npy; not beside --z.",
            show_default=False,
        ),
    ] = None,
    z: Points = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw from p(x given z), not only its mean.")
    ] = False,
    output: RowsOutput = "-",
    seed: Seed = 0,
    format: InputFormat = None,
    output_format: OutputFormat = None,
    json: Json = False,
) -> None:
    """Write the rows or images that points in latent space stand for.

    About -3 to 3 is where training rows lie. A table of points has columns z_0, z_1, ...; the
    file of an index will do as well.
    """
    from improbable.cli.decoding import write_decoded
    from improbable.cli.outputs import check_rows_output
    from improbable.cli.places import input_file, read_points, typed_places
    from improbable.persistence import load

    detector = load(model)
    size = detector.model_.vae.latent_dim
    check_rows_output(output, output_format, detector.model_.codec, input, model)
    if input is None or z:
        points = typed_places(size, input_file(input, format, None), None, z).loc
    else:
        points = read_points(input, size, format)
    n = write_decoded(detector, points, output, format=output_format, draw=draw, random_state=seed)
    report(f"{counted(n, 'point')} decoded", {"rows": n, "output": output}, json=json)


def traverse(
    model: ModelFile,
    dim: Annotated[
        int, typer.Option("--dim", min=0, help="Latent dimension; `latent` says which matter.")
    ],
    input: OptionalInput = None,
    row: Annotated[int, typer.Option("--row", min=0, help="Row of INPUT, from 0.")] = 0,
    z: Points = None,
    values: Annotated[
        str, typer.Option("--values", metavar="A,B,...", help="Values of the dimension.")
    ] = "-3,-2,-1,0,1,2,3",
    output: RowsOutput = "-",
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    json: Json = False,
) -> None:
    """Write a row decoded while one latent dimension takes some values."""
    from improbable.cli import parsing
    from improbable.cli.decoding import write_decoded
    from improbable.cli.outputs import check_rows_output
    from improbable.cli.places import find_places, input_file
    from improbable.latent import algebra
    from improbable.persistence import load

    detector = load(model)
    check_rows_output(output, output_format, detector.model_.codec, input, model)
    wanted = parsing.numbers(values, "--values")
    source = input_file(input, format, array)
    start = find_places(detector.model_, source, None if z else [row], z).only
    points = algebra.traverse(start, dim, wanted)
    n = write_decoded(detector, points, output, format=output_format)
    report(f"{counted(n, 'row')} along dimension {dim}", {"rows": n, "output": output}, json=json)


def interpolate(
    model: ModelFile,
    input: OptionalInput = None,
    first: Annotated[
        int | None, typer.Option("--from", min=0, metavar="N", help="First row, from 0.")
    ] = None,
    last: Annotated[int | None, typer.Option("--to", min=0, metavar="N", help="Last row.")] = None,
    z: Points = None,
    n: Annotated[int, typer.Option("-n", min=2, help="Rows, both ends included.")] = 10,
    path: Annotated[
        str, typer.Option("--path", help="linear, slerp, or geodesic: changes the row least.")
    ] = "linear",
    output: RowsOutput = "-",
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    json: Json = False,
) -> None:
    """Write the rows on the way from one row to another.

    The ends are two rows of INPUT, or two points given by --z.
    """
    from improbable.cli import parsing
    from improbable.cli.decoding import write_between
    from improbable.cli.outputs import check_rows_output
    from improbable.cli.places import find_ends, input_file
    from improbable.persistence import load

    detector = load(model)
    parsing.choice(path, PATHS, "--path")
    check_rows_output(output, output_format, detector.model_.codec, input, model)
    ends = find_ends(detector.model_, input_file(input, format, array), first, last, z)
    write_between(detector, ends, n, path, output, format=output_format)
    report(f"{counted(n, 'row')} on a {path} path", {"rows": n, "output": output}, json=json)


def steer(
    model: ModelFile,
    direction: Annotated[
        str, typer.Option("--direction", "-d", metavar="NAME", help="Made by directions add.")
    ],
    input: OptionalInput = None,
    row: SomeRows = None,
    z: Points = None,
    amount: Annotated[
        str,
        typer.Option(
            "--amount", metavar="A,B,...", help="1 adds all of it, -1 takes it away; one or more."
        ),
    ] = "1",
    output: RowsOutput = "-",
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Write rows with some of a named direction added, or taken away.

    All rows of INPUT unless --row names some; of several amounts each row comes with every one.
    """
    from improbable.cli import parsing
    from improbable.cli.decoding import write_steered
    from improbable.cli.outputs import check_rows_output
    from improbable.cli.places import find_places, input_file
    from improbable.persistence import load

    detector = load(model)
    amounts = parsing.numbers(amount, "--amount")
    check_rows_output(output, output_format, detector.model_.codec, input, model)
    source = input_file(input, format, array, batch_rows)
    with rows_bar("encoding", shown=progress) as moved:
        places = find_places(detector.model_, source, row, z, moved)
    n = write_steered(detector, places, direction, amounts, output, format=output_format)
    report(f"{counted(n, 'row')} steered", {"rows": n, "output": output}, json=json)


def latent(
    input: Input,
    model: ModelFile,
    format: InputFormat = None,
    array: Array = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Show the latent dimensions, the most active first.

    Activity is the variance of the posterior's mean over the rows, 0 where a dimension says
    nothing about them; kl is what it costs, in nats; the rest are posterior statistics.
    """
    from improbable.cli.grouping import latent_lines
    from improbable.cli.inputs import InputFile, open_feed
    from improbable.cli.places import encode
    from improbable.latent.algebra import latent_summary
    from improbable.persistence import load

    fitted = load(model).model_
    feed = open_feed(InputFile(input, format, array, batch_rows=batch_rows), fitted.codec)
    with rows_bar("encoding", shown=progress) as moved:
        found = latent_summary(encode(fitted, feed, moved=moved))
    dims = found.to_frame("pyarrow").to_pylist()
    record = {"rows": feed.n_rows, "active": found.n_active, "dims": dims}
    print_either(record, latent_lines(record), json=json)


def cluster(
    input: Input,
    model: ModelFile,
    clusters: ClusterCount = None,
    output: Output = "-",
    centers: Centers = None,
    divergence: DivergenceName = "kl",
    hierarchy: Hierarchy = False,
    linkage: Linkage = None,
    merges: Merges = None,
    seed: Seed = 0,
    prefix: Prefix = "",
    format: InputFormat = None,
    array: Array = None,
    labels: About = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Group rows whose posteriors are alike.

    Keeps the input's columns and adds cluster, responsibility (the probability of the cluster)
    and divergence (from its center, in nats). Says how large each cluster is, and which row
    lies nearest to its center. --hierarchy, for up to 5,000 rows, merges the two nearest groups
    again and again instead, by Jeffreys divergence.
    """
    from improbable.cli import parsing
    from improbable.cli.destinations import check_apart, check_output
    from improbable.cli.grouping import Grouping, cluster_lines
    from improbable.cli.inputs import InputFile, open_feed
    from improbable.cli.merging import checked_linkage
    from improbable.cli.outputs import check_rows_output
    from improbable.persistence import load

    check_output(output, output_format, input, model, labels, merges, centers)
    check_apart(merges or "-", input, model, labels)
    count = parsing.counts(clusters)
    tree = checked_linkage(linkage, merges, count, divergence, hierarchy=hierarchy)
    detector = load(model)
    if centers is not None:
        check_rows_output(centers, None, detector.model_.codec, input, model, labels, merges)
    grouping = Grouping(detector, count, divergence, seed, prefix, tree)
    feed = open_feed(InputFile(input, format, array, labels, batch_rows), detector.model_.codec)
    extras = {"centers": centers, "merges": merges}
    record = grouping.run(feed, output, **extras, format=output_format, shown=progress)
    report("\n".join(cluster_lines(record)), record, json=json)
