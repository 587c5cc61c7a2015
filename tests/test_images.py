"""Images through the same verbs: codec, networks, scores, maps, files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from oracle import tensor

from improbable import (
    DataError,
    DataWarning,
    FormatError,
    ImageCodec,
    ImprobableError,
    VAEDetector,
    load,
    persistence,
    save,
)
from improbable.convolution import ConvDecoder, ConvEncoder, halved
from improbable.data.pictures import EXTENSIONS, read_images
from improbable.model import as_batch
from improbable.networks import initialize
from improbable.randomness import seed_sequence, torch_generator
from improbable.scores import SCORES
from improbable.start import linear_start
from improbable.vae import assemble_vae
from improbable.wording import AS_A_WHOLE

SMALL = {"random_state": 0, "max_steps": 200, "hidden": (16,), "n_draws": 4, "batch_size": 64}


def bars(n, seed, height=9, width=12):
    """Upright bars of random place and brightness on a dark ground."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 20, size=(n, height, width))
    place, level = rng.integers(1, width - 1, n), rng.integers(150, 250, n)
    images[np.arange(n), :, place] = level[:, None]
    return images.astype(np.uint8)


pytestmark = pytest.mark.xdist_group("images")  # so that one process alone fits the detectors
TRAIN, NEW = bars(400, 0), bars(60, 1)
ODD = np.swapaxes(bars(60, 2, 12, 9), 1, 2).copy()


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(codec=ImageCodec(), **SMALL).fit(TRAIN)


@pytest.mark.parametrize(
    "likelihood", ["bernoulli", "continuous_bernoulli", "normal", "normal_shared"]
)
@pytest.mark.parametrize(
    "images",
    [TRAIN, TRAIN / 255.0, np.stack([TRAIN, TRAIN[::-1]], -1), TRAIN.astype(int)],
    ids=["uint8", "float", "two channels", "int"],
)
def test_codec_round_trip(images, likelihood):
    codec = ImageCodec(likelihood).fit(images)
    rows = codec.transform(images)
    assert rows.values.min() >= 0.0
    assert rows.values.max() <= 1.0
    assert rows.values.shape == (400, codec.event_size) == (400, len(codec.parts))
    back = codec.inverse_transform(rows.values.astype(float)).to_native()
    assert_allclose(back, images, atol=1e-4 if images.dtype == float else 0)
    assert len(codec.names) == len(set(codec.names)) == codec.event_size


@pytest.mark.parametrize(
    ("images", "levels", "likelihood"),
    [
        (TRAIN, (0, 255), "continuous_bernoulli"),
        (TRAIN.astype(int), (0, 255), "continuous_bernoulli"),
        (TRAIN // 16, (0, 15), "normal"),
        (TRAIN.astype(int) // 16, (0, 15), "normal"),
        (TRAIN.astype(np.uint16) * 16, (0, int(TRAIN.max()) * 16), "normal"),
        (TRAIN.astype(int) - 90, (-90, int(TRAIN.max()) - 90), "normal"),
        ((TRAIN > 100).astype(np.uint8), (0, 1), "normal"),
        (TRAIN > 100, (0, 1), "normal"),
        ((TRAIN // 16).astype(np.float32), (0, 15), "normal"),
    ],
    ids=["bytes", "int", "digits", "int digits", "12 bits", "signed", "mask", "bool", "float32"],
)
def test_levels_of_any_scale_fill_their_range_and_come_back(images, levels, likelihood):
    codec = ImageCodec().fit(images)
    assert (codec.low, codec.high, codec.likelihood) == (*levels, likelihood)
    rows = codec.transform(images)
    assert not rows.out_of_range.any()
    assert rows.values.max() > 0.8
    back = codec.inverse_transform(rows.values.astype(float)).to_native()
    assert back.dtype == images.dtype
    assert_allclose(back, images, atol=1e-4 if images.dtype.kind == "f" else 0)
    far = codec.inverse_transform(rows.values.astype(float) * 9.0 - 4.0).to_native()
    if images.dtype.kind in "uib":
        assert (far.min(), far.max()) == (codec.low, codec.high)
    assert ImageCodec.from_json(codec.to_json()) == codec


def test_files_from_before_keep_their_types():
    record = ImageCodec().fit(TRAIN).to_json()
    del record["dtype"]
    assert ImageCodec.from_json(record).dtype == "uint8"
    assert ImageCodec.from_json({**record, "integer": False}).dtype == "float64"


@pytest.mark.parametrize("dtype", [int, np.uint8])
def test_small_whole_levels_score_as_floats_do(dtype):
    settings = {**SMALL, "max_steps": 5, "n_members": 1}
    small = TRAIN // 16
    found, plain = (
        VAEDetector(codec=ImageCodec(), **settings).fit(images)
        for images in (small.astype(dtype), small.astype(float))
    )
    new = (NEW // 16).astype(dtype)
    assert_allclose(found.score_samples(new), plain.score_samples(new.astype(float)))
    for images in (found.reconstruct(new), found.sample(5, random_state=0)):
        assert images.dtype == dtype
        assert images.max() <= 15
    broken = new[:1].repeat(4, axis=0)
    broken[1:, 0, 0] = [16, 60, 250]
    assert (np.diff(found.score_samples(broken)) < 0.0).all()
    warned = found.detect(broken, alpha=0.05).warnings.tolist()
    assert warned == ["", *["1 pixel is out of range"] * 3]


def test_an_array_of_another_size_than_asked_for_is_refused():
    with pytest.raises(DataError, match=r"size=\(6, 6\) is for images of a folder.*are 9 x 12"):
        ImageCodec(size=(6, 6)).fit(TRAIN)
    codec = ImageCodec(size=(9, 12)).fit(TRAIN)
    assert codec.transform(NEW).values.shape == (60, 108)


def test_no_images_have_no_scores(detector):
    assert len(detector.score_samples(NEW[:0])) == 0
    assert len(detector.detect(NEW[:0], alpha=0.1)) == 0
    assert detector.reconstruct(NEW[:0]).shape == (0, 9, 12)


def test_channels_vary_slowest():
    images = np.zeros((2, 3, 4, 2), dtype=np.uint8)
    images[1, 2, 1, 1] = 255
    codec = ImageCodec().fit(images)
    place = int(np.flatnonzero(codec.transform(images).values[1])[0])
    assert place == 1 * 12 + 2 * 4 + 1
    assert codec.names[place] == "row 2, column 1, channel 1"


def test_codec_survives_json():
    codec = ImageCodec("normal", size=(9, 12)).fit(TRAIN / 300.0)
    assert type(codec).from_json(codec.to_json()) == codec
    plain = ImageCodec(network="mlp")
    assert type(plain).from_json(plain.to_json()) == plain
    record = ImageCodec().to_json()
    del record["network"]
    assert ImageCodec.from_json(record) == ImageCodec()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (TRAIN[0], "shape"),
        ([[["a"]]], "of numbers"),
        ([TRAIN[0], TRAIN[0][1:]], "Resize"),
        (TRAIN[:1], "too few"),
        (np.zeros((5, 4, 4)), "one value"),
        ("nowhere", "no folder"),
    ],
)
def test_codec_refuses(images, message):
    with pytest.raises(DataError, match=message):
        ImageCodec().fit(images)


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (ImageCodec("poisson"), "No likelihood of images"),
        (ImageCodec("discretized_logistic"), "needs uint8"),
    ],
)
def test_codec_refuses_likelihoods(codec, message):
    with pytest.raises(DataError, match=message):
        codec.fit(TRAIN / 255.0)


def test_a_fitted_codec_refuses_other_images():
    codec = ImageCodec().fit(TRAIN)
    with pytest.raises(
        DataError, match="8 x 12 with 1 channels, those of the training set 9 x 12"
    ):
        codec.read(TRAIN[:, 1:])
    with pytest.raises(DataError, match="levels 0 to 255"):
        codec.read(TRAIN / 255.0)
    with pytest.raises(DataError, match="levels 0 to 255"):
        codec.read(TRAIN.astype(int) * 2)
    with pytest.raises(DataError, match="levels 0 to 15, these"):
        ImageCodec().fit(TRAIN // 16).read(TRAIN / 16.0)
    for likelihood in ("bernoulli", "continuous_bernoulli"):
        narrow = ImageCodec(likelihood).fit(TRAIN / 255.0)
        with pytest.raises(DataError, match=f"'{likelihood}' cannot judge"):
            narrow.transform(TRAIN / 100.0)
        with pytest.raises(DataError, match=f"'{likelihood}' cannot judge"):
            ImageCodec(likelihood).fit(TRAIN // 128).transform(TRAIN)
        ImageCodec(likelihood).fit(TRAIN // 16).transform(TRAIN)


def test_missing_and_extreme_pixels_are_masked_and_told():
    codec = ImageCodec().fit(TRAIN / 255.0)
    images = NEW / 255.0
    images[0, 0, :3] = np.nan
    images[1, 4, 4] = np.inf
    images[1, 0, 0] = np.nan
    rows = codec.transform(images)
    assert rows.missing.sum() == 4
    assert not rows.observed[0, :3].any()
    assert np.isfinite(rows.values).all()
    notes = codec.remarks(rows, codec.read(images))
    assert notes[0] == "3 pixels are missing"
    assert notes[1] == "1 pixel is missing; 1 pixel is out of range"
    assert notes[2] == ""


@pytest.mark.parametrize("shape", [(1, 9, 12), (3, 7, 5), (2, 1, 3), (1, 28, 28)])
@pytest.mark.parametrize("n_members", [1, 2])
def test_networks_fit_any_size(shape, n_members):
    channels, height, width = shape
    encoder = ConvEncoder(n_members, shape, (8,), 6).double()
    decoder = ConvDecoder(n_members, 3, (8,), (2 * channels, height, width)).double()
    generator = torch_generator(seed_sequence(0))
    for network in (encoder, decoder):
        initialize(network, generator)
    z = decoder(torch.zeros(n_members, 4, 3).double())
    assert z.shape == (n_members, 4, 2 * channels * height * width)
    images = torch.ones(n_members, 4, 2 * channels * height * width).double()
    assert encoder(images).shape == (n_members, 4, 6)


def test_halved():
    assert [halved(n) for n in (1, 2, 3, 28, 7)] == [1, 1, 2, 14, 4]


def test_members_are_separate_networks():
    """One member of two computes what it would alone."""
    encoder = ConvEncoder(2, (1, 9, 12), (8,), 6).double()
    initialize(encoder, torch_generator(seed_sequence(0)))
    alone = ConvEncoder(1, (1, 9, 12), (8,), 6).double()
    state = {name: value[1:] for name, value in encoder.state_dict().items()}
    alone.load_state_dict(state)
    x = tensor(np.random.default_rng(0).normal(size=(1, 5, 2 * 108)))
    assert_allclose(
        encoder(x.expand(2, -1, -1))[1].detach(), alone(x)[0].detach(), rtol=1e-12, atol=1e-12
    )


def test_convolutions_see_the_neighborhood():
    """A bright pixel moves the code by less than its linear path alone would tell."""
    encoder = ConvEncoder(1, (1, 9, 12), (8,), 6).double()
    initialize(encoder, torch_generator(seed_sequence(0)))
    x = torch.zeros(1, 2, 216).double()
    x[0, 1, 50] = 1.0
    out = encoder(x).detach()
    assert not torch.equal(out[0, 0], out[0, 1])
    assert float(encoder.linear.detach().abs().sum()) == 0.0


def test_odd_images_score_lower(detector):
    normal, odd = detector.score_samples(NEW), detector.score_samples(ODD)
    assert np.median(odd) < normal.min()
    assert detector.p_values(ODD).max() < 0.1
    assert (detector.predict(ODD) == -1).mean() > 0.9


def test_same_image_same_score(detector):
    whole = detector.score_samples(NEW)
    assert_allclose(detector.score_samples(NEW[::-1])[::-1], whole, rtol=0, atol=1e-9)
    single = np.concatenate([detector.score_samples(NEW[i : i + 1]) for i in range(7)])
    assert_allclose(single, whole[:7], rtol=0, atol=1e-9)


def test_the_surprise_map_adds_up_and_points(detector):
    images = NEW[:5].copy()
    images[2, 6:, 9:] = 255
    found = detector.explain(images)
    total = detector.reconstruction_probability(images)
    assert_allclose(found.shares.sum(axis=(1, 2, 3)), total, atol=1e-9)
    assert found.map.shape == (5, 9, 12)
    assert found.regions(2)[0][1] == "bottom right"
    assert found.reasons(2)[0].startswith("bottom right: ")
    assert found.p_values[2, 6:, 9:].mean() < found.p_values[2, :6].mean()
    assert found.expected.shape == images.shape
    assert "bottom right" in str(found)
    assert repr(found) == "<SurpriseMap of 5 images, 9 x 12>"
    dull = replace(found, surprise=np.zeros_like(found.surprise), odd=np.arange(5) == 2)
    assert (dull.reasons(1), dull.reasons(2)) == ([], [AS_A_WHOLE])


def test_detect_names_regions(detector):
    found = detector.detect(ODD[:4], alpha=0.05)
    assert found.is_outlier.all()
    assert all("nats below" in text for text in found.top_reasons)


def test_rows_come_back_as_images(detector):
    for images in (
        detector.reconstruct(NEW[:3]),
        detector.sample(3, random_state=0),
        detector.sample_like(NEW[:1], 3, random_state=0),
        detector.interpolate(NEW[:1], NEW[1:2], 3),
        detector.decode(np.zeros((3, detector.model_.vae.latent_dim))),
    ):
        assert images.shape == (3, 9, 12)
        assert images.dtype == np.uint8


def test_reconstructions_resemble(detector):
    error = np.abs(detector.reconstruct(NEW).astype(float) - NEW).mean()
    assert error < 0.5 * np.abs(TRAIN.mean(axis=0) - NEW).mean()


def test_impute_fills_only_what_is_missing():
    floats = TRAIN / 255.0
    detector = VAEDetector(codec=ImageCodec(), **SMALL).fit(floats)
    broken = NEW[:5] / 255.0
    broken[:, 2:4] = np.nan
    filled = detector.impute(broken)
    known = ~np.isnan(broken)
    assert_allclose(filled[known], broken[known])
    truth = NEW[:5, 2:4] / 255.0
    guess = np.broadcast_to(floats.mean(axis=0)[2:4], truth.shape)
    assert np.abs(filled[:, 2:4] - truth).mean() < np.abs(guess - truth).mean()
    with pytest.warns(DataWarning, match="rare"):
        given = detector.sample(4, given=broken[:1], random_state=0)
    assert_allclose(
        given[:, ~np.isnan(broken[0])], broken[0][~np.isnan(broken[0])][None].repeat(4, 0)
    )


def test_save_and_load(detector, tmp_path):
    bright = TRAIN.max(axis=(1, 2)) > 200
    learned = detector.add_direction("bright", TRAIN[bright], TRAIN[~bright])
    save(detector, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.codec == ImageCodec()
    assert_allclose(again.score_samples(NEW), detector.score_samples(NEW), rtol=0, atol=1e-9)
    assert again.n_features_in_ == 108
    assert_allclose(again.directions["bright"].vector, learned.vector, rtol=0, atol=0)
    more = again.steer(NEW[:5], "bright", 2.0).max(axis=(1, 2)).astype(float)
    less = again.steer(NEW[:5], "bright", -2.0).max(axis=(1, 2)).astype(float)
    assert more.mean() > less.mean() + 5.0
    assert not hasattr(again, "feature_names_in_")


def test_a_file_of_an_unknown_kind_of_data_is_refused(detector, tmp_path, monkeypatch):
    save(detector, tmp_path / "m.safetensors")
    monkeypatch.delitem(persistence.CODECS, "images")
    with pytest.raises(FormatError, match="not a usable model file"):
        load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"codec": "images"}, "a codec such as ImageCodec"),
        ({"codec": ImageCodec}, "a codec such as ImageCodec"),
        ({}, "Images go to VAEDetector"),
        ({"codec": ImageCodec(), "likelihood": "normal"}, "arguments for tables"),
        ({"codec": ImageCodec(), "columns": {"a": "real"}}, "arguments for tables"),
        ({"max_steps": "many"}, "max_steps must be"),
    ],
)
def test_arguments_are_checked(params, message):
    with pytest.raises(ImprobableError, match=message):
        VAEDetector(**params).fit(TRAIN)


def test_wide_images_start_in_closed_form():
    """More pixels than rows: the start comes from products between rows."""
    images = np.tile(bars(60, 3), (1, 4, 4))
    detector = VAEDetector(codec=ImageCodec(), **{**SMALL, "max_steps": 2}).fit(images)
    assert np.isfinite(detector.score_samples(images[:3])).all()


def test_folder_of_files(tmp_path, detector):
    image = pytest.importorskip("PIL.Image")
    for i in (2, 0, 1):
        image.fromarray(NEW[i]).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    found = read_images(str(tmp_path))
    assert found.names == ("0.png", "1.png", "2.png")
    assert np.array_equal(found.to_native(), NEW[:3])
    assert_allclose(detector.score_samples(tmp_path), detector.score_samples(NEW[:3]))
    image.fromarray(NEW[0]).convert("RGB").save(tmp_path / "9.png")
    assert read_images(tmp_path).values.shape == (4, 9, 12, 3)
    image.fromarray(NEW[0][1:]).save(tmp_path / "8.png")
    with pytest.raises(DataError, match="8.png is 8 x 12, 0.png is 9 x 12"):
        read_images(tmp_path)
    assert read_images(tmp_path, (5, 6)).values.shape == (5, 5, 6, 3)
    (tmp_path / "7.png").write_bytes(b"no png")
    with pytest.raises(DataError, match="7.png cannot be read"):
        read_images(tmp_path)


DEEP = {
    "uint16": (TRAIN.astype(np.uint16) * 12, ".png"),
    "int32": (TRAIN.astype(np.int32) * 1000 - 500, ".tif"),
    "float32": ((TRAIN / 255.0).astype(np.float32), ".tif"),
}


@pytest.mark.parametrize("dtype", DEEP)
def test_files_keep_their_depth(dtype, tmp_path):
    image = pytest.importorskip("PIL.Image")
    images, extension = DEEP[dtype]
    for i in range(3):
        image.fromarray(images[i]).save(tmp_path / f"{i}{extension}")
    found = read_images(tmp_path).to_native()
    assert found.dtype == dtype
    assert np.array_equal(found, images[:3])
    smaller = read_images(tmp_path, (5, 6)).to_native()
    assert smaller.dtype == dtype
    assert smaller.std() > 0.3 * found.std()
    codec = ImageCodec().fit(images)
    assert_allclose(codec.transform(tmp_path).values, codec.transform(images[:3]).values)
    image.fromarray(TRAIN[0]).save(tmp_path / "9.png")
    with pytest.raises(DataError, match=rf"9.png holds levels of uint8, 0.* of {dtype}. Convert"):
        read_images(tmp_path)


def test_files_of_another_depth_than_in_training_are_refused(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for i, folder in enumerate(("bytes", "shorts")):
        (tmp_path / folder).mkdir()
        for j in range(3):
            picture = TRAIN[j].astype(np.uint16) * 12 if i else TRAIN[j]
            image.fromarray(picture).save(tmp_path / folder / f"{j}.png")
    with pytest.raises(DataError, match="levels 0 to 255, these images hold other numbers"):
        ImageCodec().fit(TRAIN).read(tmp_path / "shorts")
    deep = ImageCodec().fit(TRAIN.astype(np.uint16) * 12)
    with pytest.raises(DataError, match="0.png holds levels of uint8, the detector was fitted on"):
        deep.read(tmp_path / "bytes")


def test_gray_files_are_read_as_colored_ones_where_those_were_learned_from(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for i in range(3):
        image.fromarray(NEW[i]).save(tmp_path / f"{i}.png")
    colored = np.repeat(TRAIN[..., None], 3, axis=3)
    codec = ImageCodec().fit(colored)
    found = codec.read(tmp_path)
    assert not found.flat
    assert np.array_equal(found.to_native(), np.repeat(NEW[:3, ..., None], 3, axis=3))
    with pytest.raises(DataError, match="with 1 channels, those of the training set"):
        codec.read(NEW)


def test_an_empty_folder_and_no_pillow(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds no image files"):
        read_images(tmp_path)
    (tmp_path / f"a{EXTENSIONS[0]}").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImprobableError, match=r"improbable\[images\]"):
        read_images(tmp_path)


def test_equal_contrast_ignores_brightness():
    codec = ImageCodec(contrast="equal").fit(TRAIN)
    faint = (NEW / 3.0).round().astype(np.uint8)
    bright, dark = (codec.transform(images).values for images in (NEW, faint))
    assert_allclose(dark, bright, atol=0.05)
    assert_allclose(np.sqrt((bright**2).mean(axis=1)), codec.typical, rtol=1e-5)
    back = codec.inverse_transform(dark, codec.read(faint)).to_native()
    assert_allclose(back.astype(int), faint, atol=1)
    assert type(codec).from_json(codec.to_json()) == codec
    with pytest.raises(DataError, match="contrast must be"):
        ImageCodec(contrast="high").fit(TRAIN)
    with pytest.raises(DataError, match="'normal', 'normal_shared'"):
        ImageCodec("bernoulli", contrast="equal").fit(TRAIN)


@pytest.mark.parametrize(
    ("asked", "contrast", "images", "chosen"),
    [
        ("auto", "equal", TRAIN, "normal_shared"),
        ("auto", "equal", TRAIN / 255.0, "normal_shared"),
        ("normal", "equal", TRAIN, "normal"),
        ("auto", "kept", TRAIN, "continuous_bernoulli"),
        ("auto", "kept", TRAIN / 255.0, "normal"),
        ("normal_shared", "kept", TRAIN, "normal_shared"),
    ],
)
def test_likelihood_that_is_chosen(asked, contrast, images, chosen):
    codec = ImageCodec(asked, contrast=contrast).fit(images)
    assert codec.likelihood == chosen
    assert {(part.likelihood, part.floor) for part in codec.parts} == {
        (chosen, 0.0 if chosen == "continuous_bernoulli" else 0.05)
    }
    assert type(codec).from_json(codec.to_json()) == codec


def test_an_unknown_likelihood_is_told_the_choices():
    with pytest.raises(DataError, match="'normal_shared'"):
        ImageCodec("normal_per_column").fit(TRAIN)


EQUAL = {**SMALL, "n_members": 2}


@pytest.fixture(scope="module", params=["mlp", "conv"])
def equal(request):
    """Detector of images of equal contrast, of two members."""
    return VAEDetector(codec=ImageCodec(contrast="equal", network=request.param), **EQUAL).fit(
        TRAIN
    )


NOISY = np.random.default_rng(5).integers(0, 120, TRAIN.shape).astype(np.uint8) + TRAIN // 2


def scales(vae, seed=0):
    """Scales of every pixel at random places in latent space: members, z, pixels."""
    z = tensor(np.random.default_rng(seed).normal(size=(vae.n_members, 7, vae.latent_dim)))
    (distribution,) = vae.decode(3.0 * z).distributions
    return distribution.stddev.detach().numpy()


def test_one_scale_for_all_pixels_and_all_z(equal):
    found = scales(equal.model_.vae)
    assert found.shape == (2, 7, 108)
    assert_allclose(found, np.broadcast_to(found[:, :1, :1], found.shape), rtol=1e-12)
    plain = VAEDetector(codec=ImageCodec("normal", contrast="equal"), **EQUAL).fit(TRAIN)
    assert np.ptp(scales(plain.model_.vae), axis=(1, 2)).min() > 1e-3


def test_the_shared_scale_is_learned():
    """It settles where the likelihood is highest: at the root mean square of what is left."""
    settings = {**SMALL, "n_members": 1, "n_draws": 16}
    codec = ImageCodec(contrast="equal", network="mlp")
    begun, done = (
        VAEDetector(codec=codec, **{**settings, "max_steps": steps}).fit(NOISY)
        for steps in (1, 600)
    )
    first, last = (float(scales(d.model_.vae).mean()) for d in (begun, done))
    assert last > 1.2 * first
    rows = as_batch(done.model_.codec.transform(NOISY))
    vae = done.model_.vae
    posterior = vae.encode(rows.values, rows.observed)
    z = posterior.mean.unsqueeze(1) + posterior.stddev.unsqueeze(1) * done.model_.noise[:, None]
    left = float(((vae.decode(z).mean - rows.values) ** 2).mean().sqrt())
    assert last == pytest.approx(left, rel=0.03)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_shared_scale_starts_at_what_is_left_over(network):
    codec = ImageCodec(contrast="equal", network=network).fit(NOISY)
    vae = assemble_vae(codec, 3, (8,), (8,), 1)
    rows = as_batch(codec.transform(NOISY))
    linear_start(vae, rows.to(torch.float32))
    vae.double().requires_grad_(requires_grad=False)
    expected = vae.decode(vae.encode(rows.values, rows.observed).mean.unsqueeze(1)).mean[0, 0]
    left = float(((expected - rows.values) ** 2).mean().sqrt())
    assert_allclose(scales(vae), left, rtol=1e-4)


def test_one_scale_ranks_by_squared_error_alone():
    """Without a scale of their own, pixels weigh alike: log p falls as the squared error grows."""
    images = np.concatenate([NEW, ODD])
    alone = VAEDetector(
        codec=ImageCodec(contrast="equal", network="mlp"), **{**SMALL, "n_members": 1}
    ).fit(TRAIN)
    by_log_prob = alone.reconstruction_probability(images, "expected_log_prob")
    by_tail = alone.reconstruction_probability(images, "chi_square_tail")
    assert np.array_equal(np.argsort(by_log_prob), np.argsort(by_tail))


def test_equal_contrast_goes_through_every_verb(equal, tmp_path):
    assert np.median(equal.score_samples(ODD)) < equal.score_samples(NEW).min()
    found = equal.explain(NEW[:5])
    total = equal.reconstruction_probability(NEW[:5])
    assert_allclose(found.shares.sum(axis=(1, 2, 3)), total, atol=1e-9)
    assert found.map.shape == (5, 9, 12)
    for images in (
        equal.reconstruct(NEW[:3]),
        equal.sample(3, random_state=0),
        equal.sample_like(NEW[:1], 3, random_state=0),
        equal.interpolate(NEW[:1], NEW[1:2], 3),
        equal.decode(np.zeros((3, equal.model_.vae.latent_dim))),
    ):
        assert images.shape == (3, 9, 12)
        assert images.dtype == np.uint8
    save(equal, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.model_.codec.likelihood == "normal_shared"
    for name in SCORES:
        before, after = (d.reconstruction_probability(NEW, name) for d in (equal, again))
        assert np.array_equal(before, after), name
    assert np.array_equal(equal.sample(5, random_state=1), again.sample(5, random_state=1))
