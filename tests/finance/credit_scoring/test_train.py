from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.bundle import load_bundle, open_predictor
from common.config import build_config, settings
from common.errors import UsageError
from common.evaluation.metrics import auc
from finance.credit_scoring.bench import changes_of, merged
from finance.credit_scoring.config import PRESETS, RECIPES, Config
from finance.credit_scoring.serve import CreditPredictor
from finance.credit_scoring.train import fit, record_of, reweigh


@pytest.fixture(scope="module")
def split(config, applicants):
    return applicants.split(config.seed)


def changed(config: Config, *overrides: str) -> Config:
    quick = ["challenger.boosting.rounds=30", "challenger.bags=1", "challenger.library=lightgbm"]
    return build_config(Config, {"this": config.model_dump(mode="json")}, "this", [*quick, *overrides])


def mean_probability(fitted, part, name="scorecard") -> float:
    model = fitted.models[name]
    return float(model.probability(model.score(part.columns())).mean())


def test_the_bundle_is_verified_answers_its_golden_examples_and_says_it_is_simulated(bundle, config):
    again = load_bundle(bundle.path)
    assert again.manifest.simulated
    assert again.manifest.config == config.model_dump(mode="json")
    assert len(again.examples()) == 5
    assert isinstance(open_predictor(again), CreditPredictor)
    assert "simulated" in again.read("CARD.md").decode().lower()


def test_both_models_learned_something(bundle, applicants, split):
    test = split["test"]
    for name in ("scorecard", "challenger"):
        model = CreditPredictor.of(bundle, name).model
        assert auc(test.y, model.probability(model.score(test.columns()))) > 0.65
    metrics = bundle.json("metrics.json")
    assert metrics["valid_auc"] == max(metrics["valid_auc_scorecard"], metrics["valid_auc_challenger"])


def test_the_bundle_holds_the_fields_its_formulas_read_and_no_sensitive_one(bundle):
    fields = {field["name"]: field for field in bundle.json("preprocess.json")["fields"]}
    assert "payment_to_income" in fields
    assert {"loan_amount", "term_months", "income_monthly"} <= set(fields)
    assert not any(field["sensitive"] for field in fields.values())
    assert set(bundle.json("reference.json")) == {n for n, f in fields.items() if not f["formula"]} | {"score"}


def test_training_twice_gives_the_same_model(config, split):
    one, two = (fit(changed(config), split["train"], split["valid"]) for _ in range(2))
    assert one.metrics == two.metrics
    for name, model in one.models.items():
        assert model.to_json() == two.models[name].to_json()
        for a, b in zip(model.terms, two.models[name].terms, strict=True):
            np.testing.assert_array_equal(a.table, b.table)


def test_labels_of_validation_and_test_do_not_reach_the_bins(config, split):
    """Only calibration and the cut-off may look at validation labels."""
    valid = split["valid"]
    turned = valid.rows(np.arange(len(valid.y)))
    turned.y[:] = 1 - turned.y
    one, two = (fit(changed(config), split["train"], part).scorecard for part in (valid, turned))
    for a, b in zip(one.variables, two.variables, strict=True):
        assert a.axis == b.axis
        np.testing.assert_array_equal(a.woe, b.woe)


def test_a_prior_moves_the_mean_probability_to_the_population(config, split):
    accepted = split["valid"].rows(np.flatnonzero(split["valid"].accepted))
    as_sampled = mean_probability(fit(changed(config), split["train"], split["valid"]), accepted)
    assert as_sampled == pytest.approx(accepted.y.mean(), abs=0.02)
    for prior in (0.02, 0.4):
        found = fit(changed(config, f"prior={prior}"), split["train"], split["valid"])
        assert mean_probability(found, accepted) == pytest.approx(prior, rel=0.35)
        assert mean_probability(found, accepted, "challenger") == pytest.approx(prior, rel=0.35)


def test_the_cutoff_of_the_model_that_serves_is_the_bundle_s(bundle):
    data = bundle.json("preprocess.json")
    assert CreditPredictor.load(bundle).cutoff.model_dump() == data["cutoffs"][data["serving"]]
    assert CreditPredictor.load(bundle).name.startswith(data["serving"])
    assert 0 < data["cutoffs"][data["serving"]]["approval_rate"] < 1


def test_serve_and_cutoff_can_be_chosen(config, split):
    for name in ("scorecard", "challenger"):
        found = fit(changed(config, f"serve={name}", "cutoff=profit"), split["train"], split["valid"])
        assert found.serving == name
        assert found.cutoffs[name].rule.startswith("profit")


@pytest.mark.parametrize("method", ["fuzzy", "parcelling"])
def test_reject_inference_raises_the_predicted_risk_of_the_refused(config, split, method):
    everybody = split["train"]
    refused = everybody.rows(np.flatnonzero(~everybody.accepted))
    plain = fit(changed(config), everybody, split["valid"]).scorecard.log_odds
    inferred = fit(changed(config, f"reject_inference={method}"), everybody, split["valid"]).scorecard.log_odds
    assert inferred.predict(refused.columns()).mean() > plain.predict(refused.columns()).mean()


def test_reweighing_makes_group_and_label_independent():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b", "c"], 2000, p=[0.5, 0.4, 0.1])
    y = (rng.random(2000) < np.where(group == "a", 0.2, 0.5)).astype(int)
    weight = reweigh(y, group)
    rates = [np.average(y[group == name], weights=weight[group == name]) for name in "abc"]
    np.testing.assert_allclose(rates, y.mean())
    for name in "abc":
        assert weight[group == name].sum() == pytest.approx((group == name).sum())
    assert weight.sum() == pytest.approx(len(y))


def test_reweighing_brings_the_groups_together(config, split):
    """Women here default more often and earn less, so income stands for sex."""
    rng = np.random.default_rng(0)
    female = split["train"].sex == "female"
    biased = replace(
        split["train"],
        y=np.where(female & (rng.random(len(female)) < 0.4), 1, split["train"].y),
        frame=split["train"].frame.assign(income_monthly=lambda f: f["income_monthly"] * np.where(female, 0.6, 1)),
    )

    def gap(*overrides):
        risk = fit(changed(config, *overrides), biased, split["valid"]).scorecard.log_odds.predict(biased.columns())
        return risk[female].mean() - risk[~female].mean()

    assert gap() > 0.3
    assert abs(gap("mitigation=reweigh")) < 0.5 * gap()


def test_a_record_is_a_valid_request(applicants, bundle):
    predictor = CreditPredictor.load(bundle)
    without_job = int(np.flatnonzero(applicants.frame["employment_years"].isna())[0])
    record = record_of(applicants, without_job, predictor.fields)
    assert record["employment_years"] is None
    assert type(record["term_months"]) is int
    assert type(record["housing"]) is str
    predictor.request.model_validate(record)


def test_tuning_scores_a_trial_on_validation_only(config, split, monkeypatch):
    import optuna

    from finance.credit_scoring.train import objective

    chosen = {"depth": 1, "learning_rate": 0.1, "min_leaf": 20, "subsample": 0.8, "colsample": 0.5, "l2": 1.0}
    trial = optuna.trial.FixedTrial({f"challenger.boosting.{name}": value for name, value in chosen.items()})
    assert 0.55 < objective(changed(config), trial) < 0.9


@pytest.mark.usefixtures("real_data")
def test_the_published_data_give_a_bundle_that_is_not_simulated(tmp_path):
    quick = ["challenger.bags=1", "challenger.boosting.rounds=20", "challenger.library=xgboost"]
    from finance.credit_scoring.train import train

    made = train(build_config(Config, PRESETS, "reference", quick))
    assert settings().home in made.path.parents
    assert not made.manifest.simulated
    assert made.json("data.json")["cards"][0]["id"] == "credit-german"
    open_predictor(made)


def test_a_rarer_default_in_the_population_approves_more(config, split):
    """The cut-off is the cheapest for the population's mix, not for the sample's."""
    usual, rare = (
        fit(changed(config, *prior), split["train"], split["valid"]).cutoffs["scorecard"]
        for prior in ([], ["prior=0.02"])
    )
    assert rare.approval_rate > usual.approval_rate + 0.1
    assert rare.value < usual.value


def test_trees_deeper_than_pairs_are_refused(config):
    with pytest.raises(UsageError, match=r"challenger.boosting.*depth 1 or 2"):
        changed(config, "challenger.boosting.depth=3")


def test_a_change_of_the_benchmark_reaches_every_recipe_and_leaves_the_rest():
    before = Config.model_validate(PRESETS["reference"]).model_dump(mode="json")
    after = build_config(Config, PRESETS, "reference", ["challenger.bags=2", "sensitive=include"]).model_dump(
        mode="json"
    )
    found = changes_of(before, after)
    assert found == {"challenger": {"bags": 2}, "sensitive": "include"}
    taiwan = Config.model_validate(merged(RECIPES["credit-taiwan-default"], found))
    assert (taiwan.challenger.bags, taiwan.sensitive) == (2, "include")
    assert taiwan.challenger.boosting == Config.model_validate(RECIPES["credit-taiwan-default"]).challenger.boosting
