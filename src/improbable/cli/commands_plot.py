"""Commands that draw: each writes one picture, PNG, SVG or PDF by its extension."""

from typing import Annotated

import typer

from improbable.cli.options import Array, Input, InputFormat, ModelFile, Seed

Picture = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE", help="Picture: .png, .svg or .pdf."),
]
Color = Annotated[
    str | None,
    typer.Option("--color", metavar="COLUMN", help="Column to color by, or score or p_value."),
]
Count = Annotated[int, typer.Option("-n", min=1, max=100, help="Images to draw.")]


def draw_map(
    input: Input,
    model: ModelFile,
    output: Picture,
    color: Color = None,
    format: InputFormat = None,
    array: Array = None,
) -> None:
    """Draw where rows lie in latent space, in the plane of their two principal axes."""
    from improbable import plots
    from improbable.cli.plotting import check_picture, colors, keep, read_all
    from improbable.persistence import load

    check_picture(output, input, model)
    rows = read_all(load(model), input, format, array)
    keep(plots.latent_map(rows.posterior, colors(rows, color)), output)


def draw_p_values(
    input: Input,
    model: ModelFile,
    output: Picture,
    format: InputFormat = None,
    array: Array = None,
) -> None:
    """Draw the histogram of p-values: flat if rows are like the training ones."""
    from improbable import plots
    from improbable.cli.plotting import check_picture, keep, read_all
    from improbable.persistence import load

    check_picture(output, input, model)
    keep(plots.p_value_histogram(read_all(load(model), input, format, array).p_values), output)


def draw_training(model: ModelFile, output: Picture) -> None:
    """Draw how training went: the ELBO of training and held-out rows."""
    from improbable import plots
    from improbable.cli.plotting import check_picture, keep
    from improbable.persistence import load

    check_picture(output, model)
    keep(plots.training_curves(load(model).history_), output)


def draw_samples(model: ModelFile, output: Picture, n: Count = 10, seed: Seed = 0) -> None:
    """Draw new images."""
    from improbable import plots
    from improbable.cli.plotting import check_picture, keep, of_images
    from improbable.persistence import load

    check_picture(output, model)
    detector = of_images(load(model))
    keep(plots.strip(detector.sample(n, random_state=seed)), output)


def draw_surprise(
    input: Input, model: ModelFile, output: Picture, n: Count = 5, array: Array = None
) -> None:
    """Draw the least normal images, what was expected, and where they surprise."""
    from improbable import plots
    from improbable.cli.plotting import check_picture, keep, least_normal, of_images
    from improbable.persistence import load

    check_picture(output, input, model)
    detector = of_images(load(model))
    keep(plots.surprise(detector.explain(least_normal(detector, input, array, n)), n), output)


def draw_traversals(
    input: Input,
    model: ModelFile,
    output: Picture,
    row: Annotated[int, typer.Option("--row", min=0, help="Image by number, from 0.")] = 0,
    array: Array = None,
) -> None:
    """Draw what each latent dimension does to an image, a line a dimension."""
    from improbable import plots
    from improbable.cli.plotting import check_picture, keep, of_images, one_image
    from improbable.persistence import load

    check_picture(output, input, model)
    detector = of_images(load(model))
    keep(plots.traversals(detector, one_image(detector, input, array, row)), output)
