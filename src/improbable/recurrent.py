"""Recurrent networks for sequences of tokens, with a members axis.

Sequences come as codes divided by the number of codes, as
`improbable.data.sequences` encodes them: `END` closes a sequence, `UNKNOWN`
stands for tokens that are rare, never seen or hidden.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from improbable.data.tokens import END, UNKNOWN
from improbable.networks import MemberLinear

UNITS = 64
AT_ONCE = 512
CLOSED = 40.0
Choose = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Packed:
    """Places of sequences in the order in which they are read, none after the last.

    Step by step, and in each step the longest sequence first, so that those
    that have ended are behind those that go on.

    Attributes
    ----------
    row, place : Tensor of int of shape (n_read,)
        Sequence and position.
    sizes : list of int
        Sequences that are read in each step.
    last : Tensor of int of shape (n,)
        Where each sequence was read last; -1 for empty ones.
    """

    row: Tensor
    place: Tensor
    sizes: list[int]
    last: Tensor

    @classmethod
    def of(cls, read: Tensor) -> "Packed":
        """Order of the positions to be read, a mask of shape (n, steps)."""
        counts = read.sum(dim=1)
        order = counts.argsort(descending=True, stable=True)
        places = (~read).to(torch.uint8).argsort(dim=1, stable=True)[order]
        steps = torch.arange(read.shape[1], device=read.device)
        going = steps[:, None] < counts[order]
        sizes = going.sum(dim=1)
        step, at = going.nonzero().unbind(1)
        starts = sizes.cumsum(0) - sizes
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)).to(order))
        last = torch.where(counts > 0, starts[(counts - 1).clamp(min=0)] + rank, -1)
        return cls(order[at], places[at, step], [s for s in sizes.tolist() if s], last)

    def take(self, cells: Tensor) -> Tensor:
        """Cells of shape (n_members, n_read) of those of shape (n_members, n, steps)."""
        return cells[:, self.row, self.place]


class MemberGRU(nn.Module):
    """Gated recurrent unit of each member, which reads codes.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder",
    2014, with the reset gate behind the product. What a code adds to the gates
    is looked up, so reading costs one product a step.

    Parameters
    ----------
    n_members, n_codes, units : int
    """

    def __init__(self, n_members: int, n_codes: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.codes = MemberTable(n_members, n_codes, 3 * units)
        self.state = _state_layer(n_members, units)

    def forward(self, codes: Tensor, packed: Packed, known: Tensor | None = None) -> Tensor:
        """States after each code, shape (n_members, n_read, units), from a state of zeros.

        Parameters
        ----------
        codes : Tensor of int of shape (n_members, n_read)
        packed : Packed
            What is read when.
        known : Tensor of bool of shape (n_members, n_read), optional
            False where a code leaves the state as it is.
        """
        gates = self.codes(codes)
        if known is not None:
            keep = gates[..., self.units : 2 * self.units]
            keep.masked_fill_(~known.unsqueeze(-1), CLOSED)
        return _read(gates, self.state, packed.sizes)

    def step(self, codes: Tensor, state: Tensor) -> Tensor:
        """State after one code, shapes (n_members, n) and (n_members, n, units)."""
        return _stepped(self.codes(codes), state, affine(self.state, state))[0]


class MemberUnit(nn.Module):
    """The same unit where the gates have other inputs than codes.

    Parameters
    ----------
    n_members, units : int
    """

    def __init__(self, n_members: int, units: int) -> None:
        super().__init__()
        self.state = _state_layer(n_members, units)

    def forward(self, gates: Tensor, sizes: list[int]) -> Tensor:
        """States after each step, shape (n_members, n_read, units), from a state of zeros.

        Parameters
        ----------
        gates : Tensor of shape (n_members, n_read, 3 units)
            What inputs add to the reset and keep gates and to the state proposed, step by step.
        sizes : list of int
            Rows that are read in each step.
        """
        return _read(gates, self.state, sizes)


def _state_layer(n_members: int, units: int) -> MemberLinear:
    layer = MemberLinear(n_members, units, 3 * units)
    layer.fan_in = 2 * units  # spectral radius of 1, not of the root of 2
    return layer


def _read(gates: Tensor, state: MemberLinear, sizes: list[int]) -> Tensor:
    read: Callable[..., Tensor] = _Reading.apply
    return read(gates, state.weight, state.bias, sizes)


def _stepped(gate: Tensor, state: Tensor, inner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """State after a step, reset and keep gates side by side, and the state proposed."""
    size = state.shape[-1]
    both = torch.sigmoid(gate[..., : 2 * size] + inner[..., : 2 * size])
    reset, keep = both.chunk(2, dim=-1)
    new = torch.tanh(torch.addcmul(gate[..., 2 * size :], reset, inner[..., 2 * size :]))
    return torch.lerp(new, state, keep), both, new


class _Reading(torch.autograd.Function):
    """All steps of a recurrent unit; its backward pass has one product for all steps' weights."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]) -> Tensor:
        state = gates.new_zeros(len(gates), sizes[0] if sizes else 0, weight.shape[1])
        states, kept = [state[:, :0]], []
        for gate in torch.split(gates, sizes, dim=1):
            before = state[:, : gate.shape[1]]
            inner = torch.baddbmm(bias, before, weight)
            state, both, new = _stepped(gate, before, inner)
            states.append(state)
            if any(ctx.needs_input_grad):
                kept.append((before, both, new, inner[..., 2 * weight.shape[1] :]))
        ctx.sizes = sizes
        pieces = (torch.cat(piece, dim=1) for piece in zip(*kept, strict=True))
        ctx.save_for_backward(weight, *pieces)
        return torch.cat(states, dim=1)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> Any:
        weight, before, both, new, inner = ctx.saved_tensors
        reset, keep = both.chunk(2, dim=-1)
        into_new = (1.0 - keep) * (1.0 - new.square())
        into_keep = (before - new) * keep * (1.0 - keep)
        into_reset = into_new * inner * reset * (1.0 - reset)
        factors = torch.cat([into_reset, into_keep, into_new * reset], dim=-1)
        total, carry, end = above.clone(), above[:, :0], above.shape[1]
        for n in reversed(ctx.sizes):
            now = slice(end - n, end)
            grad = total[:, now]
            grad[:, : carry.shape[1]] += carry
            inward = factors[:, now] * grad.repeat(1, 1, 3)
            carry = torch.baddbmm(grad * keep[:, now], inward, weight.mT)
            end -= n
        inward = factors * total.repeat(1, 1, 3)
        gates = torch.cat([inward[..., : both.shape[-1]], total * into_new], dim=-1)
        return gates, torch.bmm(before.mT, inward), inward.sum(dim=1, keepdim=True), None


class MemberTable(nn.Module):
    """Rows of a table of each member, looked up by code."""

    def __init__(self, n_members: int, n_codes: int, out_size: int) -> None:
        super().__init__()
        self.fan_in = 2  # one code is on at a time
        self.weight = nn.Parameter(torch.zeros(n_members, n_codes, out_size))

    def forward(self, codes: Tensor) -> Tensor:
        """Rows of shape (n_members, n, out), for codes of shape (n_members, n)."""
        n_members, n_codes, _ = self.weight.shape
        first = torch.arange(n_members, device=codes.device)[:, None] * n_codes
        return functional.embedding(codes + first, self.weight.flatten(0, 1))


def affine(layer: MemberLinear, rows: Tensor) -> Tensor:
    """Image of shape (n_members, n, out) of rows of shape (n_members, n, in)."""
    return torch.baddbmm(layer.bias, rows, layer.weight)


def codes_of(values: Tensor, n_codes: int) -> Tensor:
    """Codes that encoded values stand for."""
    return (values * n_codes).round().long()


def _longest(used: Tensor) -> int:
    """Positions up to the last that any sequence uses, a mask of shape (..., length)."""
    places = used.flatten(0, -2).any(dim=0).nonzero()
    return int(places[-1]) + 1 if len(places) else 0


class RecurrentEncoder(nn.Module):
    """A recurrent unit over the tokens, then a perceptron on its last and its mean state.

    Parameters
    ----------
    n_members, n_codes : int
    hidden : sequence of int
        Hidden units of the perceptron.
    out_size : int
        Outputs.
    """

    def __init__(self, n_members: int, n_codes: int, hidden: Sequence[int], out_size: int) -> None:
        super().__init__()
        self.n_codes = n_codes
        self.reader = MemberGRU(n_members, n_codes, UNITS)
        sizes = [2 * UNITS, *hidden, out_size]
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(MemberLinear(n_members, a, b) for a, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (n_members, n, out_size), for values and masks side by side."""
        if x.shape[1] > AT_ONCE and not torch.is_grad_enabled():
            return torch.cat([self(block) for block in torch.split(x, AT_ONCE, dim=1)], dim=1)
        values, seen = x.chunk(2, dim=-1)
        steps = max(_longest(seen > 0.0), 1)
        codes = codes_of(values[..., :steps], self.n_codes)
        known = (seen[..., :steps] > 0.0) & (codes != UNKNOWN)
        packed = Packed.of(known.any(dim=0))
        kept = packed.take(known)
        states = self.reader(packed.take(codes), packed, kept)
        blank = states.new_zeros(len(x), x.shape[1] + 1, UNITS)
        total = blank.index_add(1, packed.row, states * kept.unsqueeze(-1))[:, :-1]
        mean = total / known.sum(dim=-1).clamp(min=1).unsqueeze(-1)
        last = torch.cat([states, blank[:, :1]], dim=1)[:, packed.last]
        hidden = torch.cat([last, mean], dim=-1)
        for layer in list(self.layers)[:-1]:
            hidden = affine(cast(MemberLinear, layer), hidden).relu()
        return affine(cast(MemberLinear, self.layers[-1]), hidden)


class RecurrentDecoder(nn.Module):
    """Each token from z and those before it: a recurrent unit, then a perceptron beside z.

    The unit reads the tokens alone, so all draws of z share its work.

    Parameters
    ----------
    n_members, in_size : int
    hidden : sequence of int
        Hidden units of the perceptron.
    length, n_codes : int
        Positions, and logits of each.
    """

    looks_back = True

    def __init__(
        self, n_members: int, in_size: int, hidden: Sequence[int], length: int, n_codes: int
    ) -> None:
        super().__init__()
        self.length, self.n_codes = length, n_codes
        self.reader = MemberGRU(n_members, n_codes + 1, UNITS)
        self.from_z = MemberLinear(n_members, in_size, hidden[0])
        sizes = [UNITS, *hidden, n_codes]
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(MemberLinear(n_members, a, b) for a, b in pairs)

    def forward(self, z: Tensor, values: Tensor, heard: Tensor | None = None) -> Tensor:
        """Logits of shape (n_members, draws x n, length x n_codes), draws varying slowest.

        Parameters
        ----------
        z : Tensor of shape (n_members, draws, n, in_size)
        values : Tensor of shape (n, length)
            Encoded sequences; the tokens before a position are looked back at.
        heard : Tensor of shape (n, length), optional
            1 where a token is heard as it is; the others are unknown to those after them.
        """
        codes = codes_of(values, self.n_codes)
        n, steps = len(codes), min(_longest(codes != END) + 1, self.length)
        codes = codes[:, :steps]
        going = functional.pad((codes != END).flip(1).cumsum(1).flip(1) > 0, (1, -1), value=True)
        if heard is not None:
            codes = torch.where(heard[:, :steps] > 0.0, codes, UNKNOWN)
        packed = Packed.of(going)
        before = functional.pad(codes, (1, -1), value=self.n_codes)
        states = self.reader(packed.take(before.expand(len(z), -1, -1)), packed)
        logits = self._logits(states, z, packed.row)
        place = packed.row * self.length + packed.place
        out = logits.new_zeros(*z.shape[:2], n * self.length, self.n_codes)
        return out.index_copy(2, place, logits).reshape(len(z), -1, self.length * self.n_codes)

    def _logits(self, states: Tensor, z: Tensor, row: Tensor) -> Tensor:
        """Shape (n_members, draws, n_read, n_codes) of states (n_members, n_read, units)."""
        layers = [cast(MemberLinear, layer) for layer in self.layers]
        inner = affine(layers[0], states).unsqueeze(1)
        outer = affine(self.from_z, z.flatten(1, 2)).view(*z.shape[:3], -1)
        hidden = (inner + outer.index_select(2, row)).relu().flatten(1, 2)
        for layer in layers[1:-1]:
            hidden = affine(layer, hidden).relu()
        return affine(layers[-1], hidden).view(*z.shape[:2], len(row), self.n_codes)

    def generate(self, z: Tensor, choose: Choose) -> Tensor:
        """Encoded sequences, one token after the other, shape (n, length).

        Parameters
        ----------
        z : Tensor of shape (n_members, n, in_size)
        choose : callable
            From log probabilities of shape (n_members, n, n_codes) to codes of shape (n,).
        """
        n_members, n, _ = z.shape
        state = z.new_zeros(n_members, n, UNITS)
        code = torch.full((n,), self.n_codes, device=z.device)
        found = torch.full((n, self.length), END, device=z.device)
        going = torch.ones(n, dtype=torch.bool, device=z.device)
        for place in range(self.length - 1):
            state = self.reader.step(code.expand(n_members, -1), state)
            logits = self._logits(state, z.unsqueeze(1), torch.arange(n, device=z.device))[:, 0]
            logits[..., UNKNOWN] = -torch.inf
            code = torch.where(going, choose(logits.log_softmax(-1)), END)
            found[:, place], going = code, going & (code != END)
            if not bool(going.any()):
                break
        return found.to(z.dtype) / self.n_codes
