"""What is wrong with a file, said in one sentence."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from improbable.errors import DataError

Blame = Callable[[], AbstractContextManager[None]]


@contextmanager
def blaming(problem: str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong, except a broken pipe, into a `DataError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except DataError as error:
        raise DataError(f"{problem}: {error}") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = re.sub(r"Row #(\d+)", r"row \1 after the header", " ".join(reason.split()))
        raise DataError(f"{problem}: {reason[:300].rstrip('.')}. {remedy}") from error
