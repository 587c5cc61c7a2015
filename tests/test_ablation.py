"""The ablation: every choice changes something and leaves nothing behind; criteria and ranks."""

import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import distributions as td

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import ablation
import choosing
import variants
from variants import CHOICES, CONTAMINATED, Choice, Ranking

from improbable import VAEDetector, held_out
from improbable.distributions import DiagonalNormal
from improbable.objective import elbo
from improbable.vae import Batch, assemble_vae

QUICK = {"max_steps": 24, "hidden": (16,), "latent_dim": 3}
UNEVEN = {**QUICK, "max_steps": 400, "learning_rate": 0.4}  # stops before the end
CHANGED = [name for name in CHOICES if name != "default"]


def table(n=200):
    """Two correlated columns, a heavy-tailed one, and one with a value beyond the usual clip."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, n))
    rows = np.column_stack([one, one + 0.3 * other, np.exp(4.0 * other), 0.1 * rng.normal(size=n)])
    rows[0, 3] = 50.0
    return rows


def fitted(choice, arguments, setting="one-class"):
    rows = table()
    full = replace(choice, arguments={**arguments, **choice.arguments})
    detectors = full.fit(rows, 0, setting)
    name = detectors[0].score_function
    return detectors, Ranking(tuple((one, name) for one in detectors), choice.as_ranks)(rows, rows)


@pytest.mark.filterwarnings("ignore::improbable.errors.TrainingWarning")
@pytest.mark.parametrize("name", CHANGED)
def test_every_choice_changes_the_scores_and_leaves_nothing_behind(name):
    choice = CHOICES[name]
    arguments = UNEVEN if name == "early_stopping=off" else QUICK
    module, attribute = choice.patched[:2] if choice.patched else (held_out, "PRIOR_ROWS")
    before = getattr(module, attribute)
    with patch.object(held_out, "PRIOR_ROWS", 50):  # so that more kernels are more here too
        default, plain = fitted(Choice(), arguments)
        changed, scores = fitted(choice, arguments)
        again = fitted(Choice(), arguments)[1]
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(again, plain)
    assert getattr(module, attribute) is before
    if name == "early_stopping=off":
        assert default[0].history_.steps[-1] < changed[0].history_.steps[-1] == 400
    else:
        assert np.abs(scores - plain).max() > 1e-6
    if name.startswith("kernels="):
        assert changed[0].model_.prior.loc.shape[1] > 50


@pytest.mark.parametrize("name", CONTAMINATED)
def test_choices_of_contaminated_training_change_the_scores(name):
    plain = fitted(Choice(), QUICK, "contaminated")[1]
    scores = fitted(CONTAMINATED[name], QUICK, "contaminated")[1]
    again = fitted(Choice(), QUICK, "contaminated")[1]
    assert np.abs(scores - plain).max() > 1e-6
    np.testing.assert_array_equal(again, plain)


def test_choices_of_contaminated_training_are_for_that_setting_alone():
    assert ablation.suits("knee=off", "contaminated")
    assert not ablation.suits("knee=off", "one-class")
    assert ablation.suits("latent_dim=2", "one-class")


def test_a_patch_is_undone_when_the_fit_fails():
    name = "kernel_scale=0.4"
    module, attribute, _ = CHOICES[name].patched
    before = getattr(module, attribute)
    with pytest.raises(ValueError, match="sample"):
        CHOICES[name].fit(np.empty((0, 2)), 0)
    assert getattr(module, attribute) is before


def test_sizes_are_one_member_each():
    detectors = CHOICES["sizes=4,16:nats"].fit(table(), 0)
    assert [one.model_.settings["latent_dim"] for one in detectors] == [4, 16]
    assert [one.model_.settings["n_members"] for one in detectors] == [1, 1]


def test_columns_as_reals_have_no_log_scale():
    rows = np.column_stack([table(), table()[:, 0] > 0.0])
    assert list(variants.as_reals(rows)) == [0, 1, 2, 3]
    (detector,) = replace(CHOICES["columns=real"], arguments=QUICK).fit(rows, 0)
    units = [column.kind.encoding.unit for column in detector.model_.codec.columns[:4]]
    assert units == [0.0] * 4


def test_a_mixture_in_each_cell_by_scipy():
    vae, batch, noise = beta_case()
    found = variants.cell_mixture(vae, batch, batch.observed, noise, share=0.2)
    posterior = vae.encode(batch.values, batch.observed)
    decoded = vae.decode(posterior.mean + posterior.stddev * noise)
    (normal,) = decoded.distributions
    x, loc, scale = (t.detach().numpy() for t in (batch.values, normal.mean, normal.stddev))
    clean, wide = stats.norm(loc, scale).logpdf(x), stats.norm(0.0, 5.0).logpdf(x)
    mixed = np.logaddexp(np.log(0.8) + clean, np.log(0.2) + wide)
    expected = mixed.sum(-1) - vae.prior.kl(posterior).detach().numpy()
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4)


def test_mean_ranks_tell_ties_apart_by_scores():
    known = np.array([[0.0, 1.0, 2.0], [0.0, 10.0, 20.0]])
    found = np.array([[-1.0, -5.0, 1.5, 3.0, -1.0], [-1.0, -9.0, 11.0, 2.0, -1.0]])
    assert variants.mean_ranks(found, known).tolist() == [1.0, 0.0, 3.0, 2.0, 1.0]


def beta_case():
    codec = VAEDetector(**QUICK, random_state=0).fit(table()).model_.codec
    vae = assemble_vae(codec, 2, (8,), (8,), 1)
    rows = codec.transform(table())
    tensors = (torch.tensor(part).float() for part in (rows.values, rows.observed, rows.offsets))
    noise = torch.randn(1, 200, 2, generator=torch.Generator().manual_seed(0))
    return vae, Batch(*tensors), noise


def test_beta_nll_weighs_log_probs_by_constant_variances():
    vae, batch, noise = beta_case()
    plain = elbo(vae, batch, batch.observed, noise)
    bare = variants.beta_nll(vae, batch, batch.observed, noise, beta=0.0)
    torch.testing.assert_close(bare, plain)
    with torch.no_grad():
        torch.testing.assert_close(variants.beta_nll(vae, batch, batch.observed, noise), plain)
    posterior = vae.encode(batch.values, batch.observed)
    decoded = vae.decode(posterior.mean + posterior.stddev * noise)
    terms = decoded.log_prob_blocks(batch.values) * decoded.variance.detach() ** 0.5
    weighed = variants.beta_nll(vae, batch, batch.observed, noise)
    torch.testing.assert_close(weighed, terms.sum(-1) - vae.prior.kl(posterior))
    bias = vae.decoder.bias
    ours, theirs = (
        torch.autograd.grad(value.sum(), bias, retain_graph=True)[0]
        for value in (weighed, terms.sum(-1))
    )
    torch.testing.assert_close(ours, theirs)


def test_the_mixture_prior_bounds_the_divergence():
    rng = np.random.default_rng(0)
    loc = np.concatenate([rng.normal(size=(300, 2)) - 4.0, rng.normal(size=(300, 2)) + 4.0])
    mixture = variants.fitted_mixture(loc, np.full(loc.shape, 0.25))
    assert len(mixture.mixture_distribution.probs) == 2
    widths = mixture.component_distribution.covariance_matrix.diagonal(dim1=-2, dim2=-1)
    assert 1.0 < float(widths.min()) < float(widths.max()) < 1.6
    prior = variants.MixturePrior((mixture,))
    places, scales = torch.tensor(loc[None, ::60]), torch.full((1, 10, 2), 0.5).double()
    posterior = DiagonalNormal(places, scales.log())
    normals, weights = mixture.component_distribution, mixture.mixture_distribution.probs
    whole = td.MultivariateNormal(places[0, :, None], torch.diag_embed(scales[0, :, None] ** 2))
    each = td.kl_divergence(whole, normals) - weights.log()
    torch.testing.assert_close(prior.kl(posterior)[0], each.amin(-1))
    drawn_from = posterior.as_torch()
    z = drawn_from.sample((4_000,)).transpose(0, 1)
    drawn = drawn_from.log_prob(z.transpose(0, 1)).transpose(0, 1) - prior.log_prob(z)
    error = drawn.std(1) / drawn.shape[1] ** 0.5
    assert (drawn.mean(1) - 5.0 * error <= prior.kl(posterior)).all()
    noise = torch.tensor(rng.normal(size=(2_000, 2)))
    sample = prior.sample(0, noise, torch.tensor(rng.random(2_000)))
    assert float(sample.std()) == pytest.approx(float(np.sqrt(16.0 + 1.25)), rel=0.03)


def test_criteria_need_no_labels():
    rows = table()
    two = VAEDetector(**QUICK, random_state=0).fit(rows)
    said = choosing.criteria([two], rows)
    assert said["held_out_elbo"] == pytest.approx(two.model_.held_out.mean())
    assert said["held_out_median"] == pytest.approx(np.median(two.model_.held_out))
    assert 0.0 < said["agreement"] < 1.0
    one = VAEDetector(**QUICK, n_members=1, random_state=0).fit(rows)
    assert np.isnan(choosing.criteria([one], rows)["agreement"])
    assert np.isnan(list(choosing.criteria([one, two], rows).values())).all()


def results():
    """Two sets; the held-out ELBO orders choices as AP does on one and against it on the other."""
    names = ["default", "latent_dim=4", "n_members=1", "scale_floor=0.2"]
    precision = np.array([[0.5, 0.6, 0.7, 0.99], [0.3, 0.2, 0.1, 0.99]])
    frame = pd.DataFrame({"set": np.repeat(["a", "b"], 4), "seed": 0, "choice": names * 2})
    frame["average_precision"], frame["roc_auc"] = precision.ravel(), precision.ravel()
    frame["held_out_elbo"] = [1.0, 2.0, 3.0, 99.0] * 2
    frame["held_out_median"] = 0.0
    frame["agreement"] = [0.5, 0.9, np.nan, 0.99] * 2
    return frame


def test_what_choosing_without_labels_reaches():
    lines = choosing.choosing_block(results(), "one-class")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:-1]]
    assert "over 2 sets" in lines[0]
    assert cells == [
        ["mean held-out ELBO", "+0.00", "40.00", "40.00"],
        ["median held-out ELBO", "", "40.00", "40.00"],
        ["agreement of members", "+0.00", "40.00", "40.00"],
        ["nothing, the default", "", "40.00", "40.00"],
        ["nothing, any", "", "40.00", "40.00"],
        ["labels, best possible", "", "50.00", "50.00"],
    ]
    few = results().query("choice in ['default', 'scale_floor=0.2']")
    assert choosing.choosing_block(few, "one-class") == []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder of one set, and a document with a place for the tables."""
    (tmp_path / "adbench/Classical").mkdir(parents=True)
    rows = np.concatenate([np.tile(table(), (5, 1)), table(60)[:, ::-1] + 3.0])
    is_anomaly = np.arange(len(rows)) >= 1_000
    np.savez(tmp_path / "adbench/Classical/1_toy.npz", X=rows, y=is_anomaly)
    (tmp_path / "page.md").write_text("<!-- ablation:start -->\n<!-- ablation:end -->\n")
    monkeypatch.setenv("IMPROBABLE_DATA", str(tmp_path))
    return tmp_path


def test_the_command_measures_once_and_writes_both_tables(folder, monkeypatch, capsys):
    names = ["default", "n_members=1", "kl_weight=2", "sizes=4,16:ranks"]
    paths = ["--results", str(folder / "a.parquet"), "--markdown", str(folder / "page.md")]
    assert ablation.main(["--choices", *names, *paths]) == 0
    kept = pd.read_parquet(folder / "a.parquet")
    assert set(variants.TOGETHER) < set(kept["score"])
    decided = kept[kept["score"] == "elbo"].set_index("choice")
    assert kept[kept["score"] != "elbo"][list(choosing.CRITERIA)].isna().all(axis=None)
    assert decided.loc["default", list(choosing.CRITERIA)].notna().all()
    assert decided["agreement"].notna().tolist() == [True, False, True, False]
    page = (folder / "page.md").read_text()
    assert "chosen without labels" in page
    assert "score `ranks:expected_log_prob+kl`" in page
    assert "scale_floor 0.1" in page
    capsys.readouterr()
    monkeypatch.setattr(Choice, "fit", None)
    assert ablation.main(["--choices", *names, *paths]) == 0
    assert "fit " not in capsys.readouterr().out.split("| choice")[0]


def test_results_of_an_earlier_version_are_refused(folder, capsys):
    old = pd.DataFrame({name: ["one-class"] for name in ablation.KEY})
    old.to_parquet(folder / "old.parquet")
    assert ablation.main(["--show", "--results", str(folder / "old.parquet")]) == 2
    assert "name another --results" in capsys.readouterr().err
