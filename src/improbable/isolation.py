"""Torch as the library counts on it, whatever its caller has told torch elsewhere."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

DEVICES = ("cpu", "cuda")


@contextmanager
def isolated(*, gradients: bool = False) -> Iterator[None]:
    """Tensors on the CPU by default, in the precision asked for, outside inference mode.

    Autocast would round scores, and a default device or inference mode would
    make tensors that the library cannot use. All of these belong to the thread,
    so others do not notice. Serves as a decorator, too.

    Parameters
    ----------
    gradients : bool
        Whether they are recorded.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        yield


@contextmanager
def single_precision() -> Iterator[None]:
    """Single precision where nothing else is asked for, as networks are made.

    torch has one such default for the whole process, so it is only touched
    where a caller has changed it.
    """
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
