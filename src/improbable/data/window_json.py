"""What a codec of series is in a file: plain values."""

from typing import Any

from improbable.data.schema import kinds_from_json, kinds_to_json
from improbable.data.table import TableCodec


def window_to_json(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a codec of series, by name, as plain values."""
    return {
        "data": "series",
        "length": fields["length"],
        "time": fields["time"],
        "entity": fields["entity"],
        "score_of": fields["score_of"],
        "network": fields["network"],
        "calendar": list(fields["calendar"]),
        "stride": int(fields["stride"]),
        "kinds": kinds_to_json(fields["kinds"]),
        "likelihood": fields["likelihood"],
        "step": fields["step"],
        "point": fields["point"].to_json(),
        "head": [list(entry) for entry in fields["head"]],
        "whole": fields["whole"],
        "longest": list(fields["longest"]),
    }


def window_from_json(record: dict[str, Any]) -> dict[str, Any]:
    """Fields that `window_to_json` wrote, now or before it knew all of them."""
    length = record["length"]
    return {
        "length": length if length == "auto" else int(length),
        "time": record["time"],
        "entity": record["entity"],
        "score_of": str(record["score_of"]),
        "network": str(record.get("network", "mlp")),
        "calendar": tuple(str(name) for name in record.get("calendar", ())),
        "stride": int(record.get("stride", 1)),
        "kinds": kinds_from_json(record["kinds"]),
        "likelihood": record["likelihood"],
        "step": None if record["step"] is None else float(record["step"]),
        "point": TableCodec.from_json(record["point"]),
        "head": tuple((str(a), str(b), str(c)) for a, b, c in record["head"]),
        "whole": bool(record.get("whole", False)),
        "longest": tuple(int(n) for n in record.get("longest", ())),
    }
