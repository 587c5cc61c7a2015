"""The nearest of many Gaussian kernels: sought in single precision, settled in double.

With features f(z) = (1, z, z^2) the log density of every kernel is an inner
product, so a search is one matrix product. Single precision does it twice as
fast, with an error that the features bound. Kernels that could be the nearest
within that bound are evaluated again, so the result is that of double precision.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 512
TOGETHER = 16
PAIRS = 4096
UNIT_ROUNDOFF = 2.0**-24
NEVER = -1e30


@dataclass(frozen=True)
class Kernels:
    """Gaussian kernels of each member, by the forms that make their log density linear.

    Attributes
    ----------
    forms : Tensor of shape (n_members, M, 2 latent_dim + 1)
        Coefficients of (1, z, z^2).
    """

    forms: Tensor

    @classmethod
    def of(cls, loc: Tensor, scale: Tensor) -> "Kernels":
        """Kernels of shape (n_members, M, latent_dim); densities lack their factor of pi."""
        precision = scale**-2
        constant = -0.5 * (loc**2 * precision).sum(-1) - scale.log().sum(-1)
        return cls(torch.cat([constant.unsqueeze(-1), loc * precision, -0.5 * precision], dim=-1))

    def densities(self, features: Tensor) -> Iterator[Tensor]:
        """Log densities of rows of features, block by block of the kernels.

        In blocks, so that a product with rows stays in the processor's cache.
        """
        for block in self._blocks:
            yield torch.bmm(features, block)

    def nearest(self, features: Tensor) -> Tensor:
        r"""Highest log density that a kernel gives to features, shape (n_members, n).

        The product of single precision is off by less than

        .. math:: (2 k + 4) \, u \sum_j |f_j| \max_i |w_{ij}|, \quad u = 2^{-24}

        Groups of kernels whose best comes within twice that of the best of all
        are evaluated in the precision of the features. Where torch may round
        more than that, all kernels are.

        References
        ----------
        .. [1] N. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, eq. 3.5.
        """
        if torch.get_float32_matmul_precision() != "highest":
            return reduce(torch.maximum, (d.amax(dim=-1) for d in self.densities(features)))
        single = features.float()
        rough = torch.cat([_best(torch.bmm(single, b)) for b in self._single], dim=-1)
        slack = torch.bmm(features.abs(), self._largest).squeeze(-1)
        slack *= 2.0 * (features.shape[-1] + 3) * UNIT_ROUNDOFF
        enough = (rough.amax(dim=-1) - slack).unsqueeze(-1)
        member, row, group = (rough >= enough).nonzero(as_tuple=True)
        place = member * features.shape[1] + row
        group = member * self._groups.shape[1] + group
        found = features.new_full((features.shape[0] * features.shape[1],), -torch.inf)
        for some, these in zip(*(torch.split(t, PAIRS) for t in (place, group)), strict=True):
            kernels = self._groups.flatten(0, 1).index_select(0, these)
            exact = (kernels * features.flatten(0, 1)[some].unsqueeze(1)).sum(-1)
            found.scatter_reduce_(0, some, exact.amax(dim=-1), "amax")
        return found.view(features.shape[:2])

    @cached_property
    def _blocks(self) -> list[Tensor]:
        return [block.mT.contiguous() for block in torch.split(self.forms, AT_ONCE, dim=1)]

    @cached_property
    def _padded(self) -> Tensor:
        """Distinct forms, and forms that are never the nearest until groups are full.

        Equal kernels, of rows that occur many times, would all be evaluated again.
        """
        distinct = [_distinct(forms) for forms in self.forms]
        size = -TOGETHER * (-max(map(len, distinct)) // TOGETHER)
        padded = self.forms.new_zeros(len(distinct), size, self.forms.shape[-1])
        padded[..., 0] = NEVER
        for place, forms in zip(padded, distinct, strict=True):
            place[: len(forms)] = forms
        return padded

    @cached_property
    def _single(self) -> list[Tensor]:
        return [b.mT.float().contiguous() for b in torch.split(self._padded, AT_ONCE, dim=1)]

    @cached_property
    def _groups(self) -> Tensor:
        """Forms by groups, shape (n_members, groups, `TOGETHER`, 2 latent_dim + 1)."""
        blocks = torch.split(self._padded, AT_ONCE, dim=1)
        parts = [b.reshape(len(b), TOGETHER, -1, b.shape[-1]).transpose(1, 2) for b in blocks]
        return torch.cat(parts, dim=1).contiguous()

    @cached_property
    def _largest(self) -> Tensor:
        """Largest coefficients, shape (n_members, 2 latent_dim + 1, 1)."""
        return self.forms.abs().amax(dim=1).unsqueeze(-1)


def features(first: Tensor, second: Tensor) -> Tensor:
    """First and second moments of each dimension of z behind a one, along the last axis."""
    return torch.cat([torch.ones_like(first[..., :1]), first, second], dim=-1)


def _distinct(forms: Tensor) -> Tensor:
    """Each form once, told apart by its bytes, which is many times as fast as by its numbers."""
    rows = np.ascontiguousarray(forms.detach().cpu().numpy())
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    first = np.sort(np.unique(whole, return_index=True)[1])
    return forms[torch.from_numpy(first).to(forms.device)]


def _best(densities: Tensor) -> Tensor:
    """Best of each group: kernels that lie apart, so that the maximum runs along memory."""
    *rows, n_kernels = densities.shape
    groups = densities.view(*rows, TOGETHER, n_kernels // TOGETHER)
    return groups.amax(dim=-2)
