"""Groups of a file's rows: through the rows once to encode them, once to write them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.cli.album import IMAGE
from improbable.cli.console import aligned, counted, number, rows_bar
from improbable.cli.decoding import write_decoded
from improbable.cli.feed import TEXT_FORMATS
from improbable.cli.inputs import Feed
from improbable.cli.labels import check_new_columns
from improbable.cli.merging import check_tree_rows, write_merges
from improbable.cli.places import encode
from improbable.cli.retyping import Retyping
from improbable.data.files import Spill, format_of, open_writer, spill
from improbable.detector import VAEDetector
from improbable.latent.clusters import Clusters, cluster, hierarchy
from improbable.latent.gaussians import Posterior

RESULT = ("cluster", "responsibility", "divergence")


@dataclass(frozen=True)
class Grouping:
    """How to group, and the names of the columns to add.

    Attributes
    ----------
    detector : VAEDetector
    counts : int or range, optional
        How many clusters, or numbers to choose from.
    divergence, random_state : str, int
        As for `improbable.latent.clusters.cluster`.
    prefix : str
        Put before the names of the new columns.
    linkage : str, optional
        Of a hierarchy, instead of k-means.
    """

    detector: VAEDetector
    counts: int | range | None
    divergence: str
    random_state: int
    prefix: str = ""
    linkage: str | None = None

    @property
    def added(self) -> list[str]:
        """Names of the new columns."""
        return [self.prefix + name for name in RESULT]

    def run(
        self,
        feed: Feed,
        output: str,
        *,
        centers: str | None,
        merges: str | None,
        format: str | None,
        shown: bool | None,
    ) -> dict[str, Any]:
        """Group all rows and write them; what came out, as plain values."""
        check_new_columns(self.added, feed.schema.names)
        model = self.detector.model_
        typed = feed.text and format_of(output, format) not in TEXT_FORMATS
        retyping = Retyping(feed.schema, model.codec, wanted=typed)
        names: list[Any] = []
        with spill(feed.schema) as kept, rows_bar("encoding", shown=shown) as moved:

            def see(batch: pa.RecordBatch) -> None:
                if self.linkage is not None:
                    check_tree_rows(feed.n_rows)
                retyping.see(batch)
                kept.write(batch)
                names.extend(batch.column(IMAGE).to_pylist() if feed.names else [])

            posterior = encode(model, feed, see, moved)
            found = self._grouped(posterior)
            self._write(found, kept, retyping, output, format=format)
        if centers is not None:
            write_decoded(self.detector, found.loc, centers)
        if merges is not None:
            write_merges(found, merges)
        return {"rows": len(posterior), "clusters": _groups(found, names), "output": output}

    def _grouped(self, rows: Posterior) -> Clusters:
        if self.linkage is not None and isinstance(self.counts, int):
            check_tree_rows(len(rows), whole=True)
            return hierarchy(rows, self.counts, self.linkage)
        seed = self.random_state
        return cluster(rows, self.counts, divergence=self.divergence, random_state=seed)

    def _write(
        self, found: Clusters, kept: Spill, retyping: Retyping, output: str, *, format: str | None
    ) -> None:
        added = found.to_frame("pyarrow").rename_columns(self.added)
        old = retyping.schema(kept.schema)
        schema = pa.schema([*old, *added.schema])
        start = 0
        with open_writer(output, schema, format=format) as writer:
            for batch in kept.batches():
                new = added.slice(start, batch.num_rows).combine_chunks()
                columns = [*retyping.cast(batch).columns, *(c.chunk(0) for c in new.columns)]
                writer.write(pa.RecordBatch.from_arrays(columns, schema=schema))
                start += batch.num_rows


def _groups(found: Clusters, names: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "cluster": k,
            "size": int(size),
            "exemplar": int(row),
            **({IMAGE: names[row]} if names else {}),
            "divergence": float(np.mean(found.divergences[found.labels == k])),
        }
        for k, (size, row) in enumerate(zip(found.sizes, found.exemplars, strict=True))
    ]


def latent_lines(record: dict[str, Any]) -> list[str]:
    """Latent dimensions as a person reads them."""
    names = list(record["dims"][0])
    rows = [[str(dim["dim"]), *(number(dim[n]) for n in names[1:])] for dim in record["dims"]]
    total = (
        f"{record['active']} of {counted(len(rows), 'dimension')} active "
        f"over {counted(record['rows'], 'row')}"
    )
    return [*aligned([names, *rows], numbers=range(len(names))), total]


def cluster_lines(record: dict[str, Any]) -> list[str]:
    """Groups as a person reads them."""
    head = ("cluster", "rows", "share", "exemplar", "mean divergence")
    rows = [
        (
            str(group["cluster"]),
            f"{group['size']:,}",
            f"{group['size'] / record['rows']:.1%}",
            f"row {group['exemplar']}" if IMAGE not in group else str(group[IMAGE]),
            number(group["divergence"]),
        )
        for group in record["clusters"]
    ]
    total = f"{counted(record['rows'], 'row')} in {counted(len(rows), 'cluster')}"
    return [*aligned([head, *rows], numbers=(0, 1, 2, 4)), total]
