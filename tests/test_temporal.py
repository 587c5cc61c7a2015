"""Networks that go point by point: where things lie, against plain loops, and end to end."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from improbable import DataError, VAEDetector, WindowCodec, load, save
from improbable.data.parts import Part
from improbable.data.window_rows import Layout
from improbable.joint import Joint
from improbable.likelihoods import LIKELIHOODS
from improbable.model import as_batch
from improbable.networks import initialize
from improbable.objective import elbo
from improbable.recurrent import UNITS
from improbable.start import linear_start
from improbable.temporal import (
    CHANNELS,
    ConvReader,
    ConvWriter,
    DilatedConvs,
    Points,
    RecurrentReader,
    RecurrentWriter,
    WindowDecoder,
)
from improbable.vae import Batch, assemble_vae

LENGTH, N = 5, 7
NETWORKS = ("gru", "conv")
MIXED = (
    Part("normal_per_column", 1, 0.05),
    Part("normal_per_column", 1, 0.05),
    Part("categorical", 3),
    Part("bernoulli", 1),
    Part("von_mises", 2),
    Part("negative_binomial", 1, 0.05, link=(2.0, 1.5, 0.0)),
)


def of_windows(parts):
    return [part for part in parts for _ in range(LENGTH)]


def filled(module, seed=0):
    """A module whose weights and biases are all drawn, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return module.double()


def steps_of(size, members=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(members, LENGTH, N, size, generator=generator, dtype=torch.float64)


def wave(n, seed=0):
    """Two columns in step with each other, and the state they are in."""
    t, rng = np.arange(n), np.random.default_rng(seed)
    a, b = np.sin(2 * np.pi * t / 12), np.cos(2 * np.pi * t / 12)
    noise = 0.1 * rng.normal(size=(2, n))
    state = np.where(np.sin(2 * np.pi * t / 12 + 0.3) > 0, "up", "down")
    return pd.DataFrame({"a": a + noise[0], "b": b + noise[1], "state": state})


@pytest.fixture(scope="module", params=NETWORKS)
def detector(request):
    codec = WindowCodec(length=8, network=request.param)
    return VAEDetector(codec=codec, random_state=0, max_steps=25).fit(wave(1200))


# --- the layout ---------------------------------------------------------------------------------


def test_each_point_is_given_its_own_entries_and_masks():
    layout = Layout(LENGTH, MIXED, np.arange(len(MIXED)))
    width, n_parts = sum(part.width for part in MIXED), len(MIXED)
    entries = np.arange(LENGTH * width).reshape(LENGTH, width)
    masks = 1_000 + np.arange(LENGTH * n_parts).reshape(LENGTH, n_parts)
    window = np.concatenate([entries.ravel()[layout.entries], masks.ravel()[layout.blocks]])
    inputs = Points.of(Joint.of(of_windows(MIXED)).blocks, LENGTH).inputs
    np.testing.assert_array_equal(window[inputs], np.hstack([entries, masks]))


@pytest.mark.parametrize("name", sorted(set(LIKELIHOODS) - {"token", "normal_shared"}))
def test_a_point_s_parameters_are_those_that_its_log_prob_follows(name):
    """Every likelihood, two columns of it between others: a raw output moves one point alone."""
    width = {"categorical": 3, "von_mises": 2}.get(name, 1)
    part = Part(name, width, 0.05, -5.0, 5.0, (2.0, 1.5, 0.0))
    parts = (MIXED[0], part, part, MIXED[3]) if name != "bernoulli" else (MIXED[0], part, part)
    likelihood = Joint.of(of_windows(parts))
    places = Points.of(likelihood.blocks, LENGTH).params
    assert sorted(places.flatten().tolist()) == list(range(likelihood.param_size))
    x = torch.full((likelihood.event_size,), 0.25, dtype=torch.float64)
    lag_of_part = np.tile(np.arange(LENGTH), len(parts))
    raw = torch.full((likelihood.param_size,), 0.3, dtype=torch.float64, requires_grad=True)
    by_part = likelihood(raw).log_prob_blocks(x)
    for lag in range(LENGTH):
        mine = by_part[torch.from_numpy(lag_of_part == lag)].sum()
        (moved,) = torch.autograd.grad(mine, raw, retain_graph=True)
        assert set(moved.nonzero().flatten().tolist()) <= set(places[lag].tolist())
        assert (moved[places[lag]] != 0.0).float().mean() > 0.5


def test_what_is_written_for_a_point_becomes_its_parameters():
    likelihood = Joint.of(of_windows(MIXED))
    points = Points.of(likelihood.blocks, LENGTH)
    size = points.params.shape[1]
    numbers = torch.arange(LENGTH * size, dtype=torch.float64).view(1, LENGTH, 1, size)

    class Numbers(torch.nn.Module):
        def __init__(self, *sizes):
            super().__init__()

        def forward(self, hidden):
            return numbers.expand(1, LENGTH, hidden.shape[1], size)

    decoder = WindowDecoder(1, 3, (4,), points, Numbers).double()
    raw = decoder(torch.zeros(1, 2, 3, dtype=torch.float64))[0]
    for lag in range(LENGTH):
        expected = numbers[0, lag].expand(2, size)
        torch.testing.assert_close(raw[:, points.params[lag]], expected)


# --- against plain loops ------------------------------------------------------------------------


def torch_gru(gates, state, member):
    """PyTorch's unit with the weights of one member."""
    unit = torch.nn.GRU(gates.weight.shape[1], UNITS, batch_first=True).double()
    with torch.no_grad():
        unit.weight_ih_l0.copy_(gates.weight[member].T)
        unit.bias_ih_l0.copy_(gates.bias[member, 0])
        unit.weight_hh_l0.copy_(state.weight[member].T)
        unit.bias_hh_l0.copy_(state.bias[member, 0])
    return unit


def test_the_recurrent_reader_is_that_of_torch():
    reader, steps = filled(RecurrentReader(2, 4, LENGTH)), steps_of(4)
    found = reader(steps)
    for member in range(2):
        unit = torch_gru(reader.gates, reader.unit.state, member)
        states, last = unit(steps[member].transpose(0, 1))
        torch.testing.assert_close(found[member], torch.cat([last[0], states.mean(dim=1)], -1))


def test_the_recurrent_writer_is_that_of_torch_and_so_are_its_gradients():
    writer = filled(RecurrentWriter(2, 4, LENGTH, 3))
    hidden = steps_of(4)[:, 0].requires_grad_()
    found = writer(hidden)
    (gradient,) = torch.autograd.grad(found.square().sum(), hidden)
    for member in range(2):
        unit = torch_gru(writer.gates, writer.unit.state, member)
        alone = hidden[member].detach().requires_grad_()
        states, _ = unit(alone.unsqueeze(1).expand(-1, LENGTH, -1))
        expected = states @ writer.out.weight[member] + writer.out.bias[member]
        torch.testing.assert_close(found[member], expected.transpose(0, 1))
        (theirs,) = torch.autograd.grad(expected.square().sum(), alone)
        torch.testing.assert_close(gradient[member], theirs)


@pytest.mark.parametrize(("length", "dilations"), [(1, []), (2, [1]), (5, [1, 2, 4]), (9, 4)])
def test_convolutions_reach_over_the_whole_window(length, dilations):
    found = DilatedConvs(1, length).dilations
    assert found == dilations if isinstance(dilations, list) else len(found) == dilations
    assert 1 + sum(found) >= length


def test_dilated_convolutions_are_those_of_torch():
    convs, steps = filled(DilatedConvs(2, LENGTH)), steps_of(CHANNELS)
    found = convs(steps)
    for member in range(2):
        expected = steps[member].permute(1, 2, 0)
        for layer, dilation in zip(convs.layers, convs.dilations, strict=True):
            kernel = layer.weight[member].view(3, CHANNELS, CHANNELS).permute(2, 1, 0)
            bias = layer.bias[member, 0]
            near = functional.conv1d(expected, kernel, bias, padding=dilation, dilation=dilation)
            expected = expected + near.relu()
        torch.testing.assert_close(found[member], expected.permute(2, 0, 1))


def test_convolutions_read_and_write_points_in_order():
    reader, steps = filled(ConvReader(2, 4, LENGTH)), steps_of(4)
    mixed = torch.einsum("mlni,mio->mlno", steps, reader.mixed.weight)
    mixed = reader.convs(mixed + reader.mixed.bias.unsqueeze(1))
    expected = torch.stack([mixed[:, lag] for lag in range(LENGTH)], dim=2).flatten(2)
    torch.testing.assert_close(reader(steps), expected)
    writer = filled(ConvWriter(2, 4, LENGTH, 3))
    hidden = steps[:, 0]
    spread = torch.bmm(hidden, writer.spread.weight) + writer.spread.bias
    pieces = torch.stack(spread.split(CHANNELS, dim=-1), dim=1)
    found = torch.einsum("mlni,mio->mlno", writer.convs(pieces), writer.out.weight)
    torch.testing.assert_close(writer(hidden), found + writer.out.bias.unsqueeze(1))


# --- as networks of a VAE -----------------------------------------------------------------------


def assembled(network, latent_dim=3):
    """A VAE over windows of every kind of column, and rows of it."""
    codec = WindowCodec(length=LENGTH, network=network).fit(wave(300))
    rows = as_batch(codec.transform(wave(300)).take(slice(20, 220)))
    return assemble_vae(codec, latent_dim, (16,), (16,), 2).double(), rows


def drawn(network):
    vae, rows = assembled(network)
    for part in (vae.encoder, vae.decoder):
        initialize(part, torch.Generator().manual_seed(0))
    linear_start(vae, rows)
    return vae, rows


@pytest.mark.parametrize("network", NETWORKS)
def test_the_start_is_that_of_perceptrons(network):
    """Without hidden layers all networks are the same linear model."""
    (vae, rows), (plain, _) = assembled(network), assembled("mlp")
    for model in (vae, plain):
        linear_start(model, rows)
    found, expected = (model.encode(rows.values, rows.observed) for model in (vae, plain))
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.stddev, expected.stddev)
    ours, theirs = (model.decode(expected.mean) for model in (vae, plain))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_drawn_at_random_leave_the_start_about_where_it_is(network):
    vae, rows = drawn(network)
    plain, _ = assembled("mlp")
    linear_start(plain, rows)
    initialize(plain.encoder, torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = (model.encode(rows.values, rows.observed).mean for model in (vae, plain))
    away = (ours - theirs).square().mean().sqrt() / theirs.std()
    assert 0.0 < float(away) < 0.6


@pytest.mark.parametrize("network", NETWORKS)
def test_all_weights_have_finite_gradients(network):
    vae, rows = drawn(network)
    noise = torch.randn(2, len(rows), 3, generator=torch.Generator().manual_seed(1)).double()
    elbo(vae, rows, rows.observed, noise).sum().backward()
    for name, parameter in vae.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0.0).any(), name


@pytest.mark.parametrize("network", NETWORKS)
def test_a_window_is_encoded_and_decoded_alike_in_any_batch(network):
    vae, rows = drawn(network)
    whole = vae.encode(rows.values, rows.observed)
    shuffled = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    part = rows[shuffled[:31]]
    found = vae.encode(part.values, part.observed)
    expected = whole.mean[:, shuffled[:31]]
    torch.testing.assert_close(found.mean, expected, rtol=0, atol=1e-9)
    alone = vae.decode(whole.mean[:, 5:6]).mean
    together = vae.decode(whole.mean).mean[:, 5:6]
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_point_is_read_and_hidden_ones_are_not(network):
    vae, rows = drawn(network)
    filled(vae.encoder)
    one = rows[:1]
    values = one.values.clone().requires_grad_()
    visible = one.observed.clone()
    visible[0, 2] = 0.0
    (moved,) = torch.autograd.grad(vae.encode(values, visible).mean.sum(), values)
    hidden = vae.entry_part == 2
    assert (moved[0, hidden] == 0.0).all()
    inside = (one.values > vae.low) & (one.values < vae.high)
    assert (moved[0, ~hidden & inside[0]] != 0.0).all()
    seen = vae.encode(one.values, one.observed).mean
    blank = Batch(one.values * (vae.entry_part != 2), one.observed, one.offsets)
    assert not torch.allclose(vae.encode(blank.values, visible).mean, seen)


# --- end to end ---------------------------------------------------------------------------------


def test_what_does_not_fit_is_found(detector):
    new = wave(400, seed=1)
    new.loc[200:205, "a"] = 0.0
    found = detector.detect(new)
    assert found["score"].idxmin() in range(192, 214)
    assert found["is_outlier"][203]
    assert found["is_outlier"][50:150].mean() < 0.15
    assert detector.explain(new.iloc[180:230]).shares.shape == (50, 3)


def test_scores_stay_as_they_are_in_a_file_and_in_part(detector, tmp_path):
    new = wave(300, seed=2)
    new.loc[100:103, "b"] = np.nan
    scores = detector.score_samples(new)
    assert np.isfinite(scores).all()
    save(detector, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.model_.codec.network == detector.model_.codec.network
    np.testing.assert_array_equal(again.score_samples(new), scores)
    first = detector.score_samples(new[:200])
    np.testing.assert_allclose(first[:180], scores[:180], atol=1e-8)
    assert detector.impute(new)["b"].notna().all()
    assert len(detector.sample(2)) == 16


def test_streams_agree(detector):
    """One row at a time, by the networks themselves."""
    codec = WindowCodec(length=8, network=detector.model_.codec.network, score_of="last")
    last = VAEDetector(codec=codec, random_state=0, max_steps=5).fit(wave(600))
    new = wave(30, seed=3)
    stream = last.stream(alpha=0.05)
    found = [point.score for point in stream.push(new)]
    np.testing.assert_allclose(found, last.score_samples(new), atol=1e-8)


@pytest.mark.parametrize("network", NETWORKS)
def test_windows_of_one_point(network):
    codec = WindowCodec(length=1, network=network)
    rows = wave(200)
    assert np.isfinite(
        VAEDetector(codec=codec, random_state=0, max_steps=3).fit(rows).score_samples(rows)
    ).all()


def test_no_other_network():
    with pytest.raises(DataError, match=r"network must be one of .*'gru'.*got 'lstm'"):
        VAEDetector(codec=WindowCodec(network="lstm")).fit(wave(100))


def test_files_of_before_have_perceptrons():
    record = WindowCodec(length=4).fit(wave(100)).to_json()
    assert record.pop("network") == "mlp"
    assert WindowCodec.from_json(record).network == "mlp"
