"""Hierarchies of a file's rows: what they may be asked for, and their merges as a table."""

import numpy as np
import pyarrow as pa

from improbable.cli import parsing
from improbable.cli.album import as_batch
from improbable.cli.console import counted
from improbable.cli.destinations import check_output
from improbable.data.files import open_writer
from improbable.errors import DataError
from improbable.latent.clusters import LINKAGES, TREE_ROWS, Clusters


def checked_linkage(
    linkage: str | None,
    merges: str | None,
    count: int | range | None,
    divergence: str,
    *,
    hierarchy: bool,
) -> str | None:
    """How a hierarchy measures two groups; None if none is asked for.

    Raises
    ------
    DataError
        If an option does not go with the others, or the file of merges cannot be written.
    """
    if not hierarchy:
        for option, value in (("--linkage", linkage), ("--merges", merges)):
            if value is not None:
                raise DataError(f"{option} is for hierarchies. Leave it out, or add --hierarchy.")
        return None
    if not isinstance(count, int):
        raise DataError("--hierarchy is cut into one number of clusters. Say it, as in -k 5.")
    if divergence != "kl":
        raise DataError("--hierarchy goes by Jeffreys divergence. Leave out --divergence.")
    if merges == "-":
        raise DataError("--merges takes a file of its own. Name one, as in --merges tree.csv.")
    if merges is not None:
        check_output(merges, None)
    return parsing.choice(linkage or LINKAGES[0], LINKAGES, "--linkage")


def check_tree_rows(n: int, *, whole: bool = False) -> None:
    """Refuse more rows than a hierarchy can compare, or too few once all of them are there.

    Raises
    ------
    DataError
        If there are.
    """
    if n > TREE_ROWS or (whole and n < 2):
        there = f"more than {TREE_ROWS:,} rows" if n > TREE_ROWS else counted(n, "row")
        raise DataError(
            f"--hierarchy compares every pair of 2 to {TREE_ROWS:,} rows, and INPUT has {there}. "
            "Pass other rows, or leave out --hierarchy."
        )


def write_merges(found: Clusters, path: str) -> None:
    """Write the tree of a hierarchy, a line for each merge, the nearest first.

    Rows are groups 0 to n - 1, and merges make the groups from n on; divergence is that of the
    two groups merged, nats, and rows how many they hold together.
    """
    merges = np.empty((0, 4)) if found.merges is None else found.merges
    first, second, divergence, rows = merges.T
    made = len(found.labels) + np.arange(len(merges))
    counts = {"group": made, "first": first, "second": second, "rows": rows}
    columns = {name: pa.array(cells.astype(np.int64)) for name, cells in counts.items()}
    table = pa.table({**columns, "divergence": divergence})
    table = table.select(["group", "first", "second", "divergence", "rows"])
    with open_writer(path, table.schema) as writer:
        writer.write(as_batch(table))
