"""The evidence lower bound: per row, in nats, pure."""

from torch import Tensor

from improbable.vae import VAE, Batch


def elbo(
    vae: VAE,
    batch: Batch,
    visible: Tensor,
    noise: Tensor,
    kl_weight: float = 1.0,
    heard: Tensor | None = None,
    free_nats: float = 0.0,
) -> Tensor:
    r"""Evidence lower bound of each row, by one reparameterized draw.

    .. math:: \mathbb{E}_{q(z \mid x_v)} \log p(x_o \mid z) - \mathrm{KL}(q(z \mid x_v) \| p(z))

    The encoder sees the visible cells x_v; the decoder is judged on all
    observed cells x_o. With everything visible this is the bound of [1]_, eq. 3.

    Parameters
    ----------
    vae : VAE
    batch : Batch
        Rows.
    visible : Tensor of shape (n, n_parts) or (n_members, n, n_parts)
        1 where the encoder may look; never more than `batch.observed`.
    noise : Tensor of shape (n_members, n, latent_dim)
        Standard Normal draws.
    kl_weight : float
        Weight of the KL term; 1 is the bound itself.
    heard : Tensor of shape (n, n_parts), optional
        1 where a decoder that looks back may look; everywhere if None.
    free_nats : float
        KL divergence that costs no less when it is smaller; 0 is the bound itself.

    Returns
    -------
    Tensor of shape (n_members, n)
        Nats. The higher, the better. Offsets of unseen cells are left out.

    References
    ----------
    .. [1] D. Kingma and M. Welling, "Auto-Encoding Variational Bayes", 2014.
    """
    posterior = vae.encode(batch.values, visible)
    z = posterior.mean + posterior.stddev * noise
    log_prob = vae.decode(z, batch.values, heard).log_prob(batch.values, batch.observed)
    kl = vae.prior.kl(posterior)
    return log_prob - kl_weight * (kl.clamp(min=free_nats) if free_nats else kl)
