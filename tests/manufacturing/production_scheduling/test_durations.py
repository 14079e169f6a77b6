from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from learnt import config, fitted, parts
from plants import plant

from manufacturing.production_scheduling.durations import (
    GROUPS,
    Attributes,
    Context,
    MachineState,
    Times,
    features,
    hide,
    options,
    patterns,
    stretched,
)
from manufacturing.production_scheduling.plant import World, case
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.quantiles import (
    baselines,
    conformal_offset,
    covered,
    pinball,
    predicted,
    rows_of_history,
)
from manufacturing.production_scheduling.trees import Trees


def test_our_trees_are_lightgbms():
    durations, texts = fitted()
    x = features(rows_of_history(parts()["test"]), durations.effects)
    everything = np.concatenate([hide(x, pattern) for pattern in (0, 5, 63)])
    for text, model in zip(texts.values(), durations.models, strict=True):
        np.testing.assert_allclose(model.predict(everything), lightgbm.Booster(model_str=text).predict(everything))


def test_our_trees_treat_missing_values_as_lightgbm_does():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    y = x[:, 0] + (x[:, 1] > 0)
    missing = np.where(rng.random(x.shape) < 0.2, np.nan, x)
    quiet = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    for learnt_from in (x, missing):
        booster = lightgbm.train(quiet, lightgbm.Dataset(learnt_from, y), 10)
        model = Trees.parse(booster.model_to_string())
        np.testing.assert_allclose(model.predict(missing), booster.predict(missing))
    constant = lightgbm.train(quiet, lightgbm.Dataset(x, np.ones(500)), 3)
    np.testing.assert_allclose(Trees.parse(constant.model_to_string()).predict(x), constant.predict(x))


def test_a_categorical_split_is_refused():
    x = np.random.default_rng(0).integers(0, 5, (300, 1)).astype(float)
    data = lightgbm.Dataset(x, (x[:, 0] == 2).astype(float), categorical_feature=[0])
    booster = lightgbm.train({"verbose": -1, "num_threads": 1, "min_data_per_group": 1}, data, 2)
    with pytest.raises(ValueError, match="categorical"):
        Trees.parse(booster.model_to_string())


def test_quantiles_ascend_and_cover_the_test_weeks():
    durations, _ = fitted()
    test = parts()["test"]
    for pattern in (0, 63):
        found = predicted(durations, test, pattern)
        assert (np.diff(found, axis=1) >= 0).all()
        share = covered(test.ratio, found, durations.levels).mean()
        assert 0.72 < share < 0.88
        below = (test.ratio[:, None] <= found).mean(axis=0)
        np.testing.assert_allclose(below, durations.levels, atol=0.07)


def test_they_beat_what_is_simple_and_knowing_more_helps():
    durations, _ = fitted()
    test = parts()["test"]
    past = {name: part for name, part in parts().items() if name != "test"}
    rivals = baselines(past, test, durations.levels)
    known, blind = (pinball(test.ratio, predicted(durations, test, p), durations.levels).mean() for p in (0, 63))
    simple = {name: pinball(test.ratio, one, durations.levels).mean() for name, one in rivals.items()}
    assert known < simple["historical quantiles"] < simple["historical mean"]
    assert known < blind
    planned = np.ones((len(test), len(durations.levels)))
    assert blind < pinball(test.ratio, planned, durations.levels).mean()


def test_conformal_offsets_cover_what_is_new():
    rng = np.random.default_rng(0)
    shares = {0.1: [], 0.9: []}
    for _ in range(300):
        error, new = rng.gamma(2.0, size=50), rng.gamma(2.0, size=200)
        for level, found in shares.items():
            found.append((new <= conformal_offset(error, level)).mean())
    assert 0.9 <= np.mean(shares[0.9]) < 0.93
    assert 0.07 < np.mean(shares[0.1]) <= 0.1


def test_times_of_a_problem_follow_what_is_known():
    durations, _ = fitted()
    one = case(World.of(config().plant, 0), np.random.default_rng(1))
    known = durations.quantiles(one.problem, one.context)
    blind = durations.quantiles(one.problem)
    assert known.ratio.shape == (len(options(one.problem)), len(durations.levels))
    assert not np.allclose(known.ratio, blind.ratio)
    attributes = {
        job: {place: Attributes(experience=m) for place in rows}
        for job, rows in one.context.operations.items()
        for m in [0.0]
    }
    novices = durations.quantiles(one.problem, Context(operations=attributes)).at(0.5).mean()
    assert novices > blind.at(0.5).mean()
    fresh, worn = (
        Context(machines={name: MachineState(hours_since_maintenance=h) for name in one.problem.machine})
        for h in (5.0, 115.0)
    )
    assert (
        durations.quantiles(one.problem, worn).at(0.5).mean() > durations.quantiles(one.problem, fresh).at(0.5).mean()
    )


def test_the_unknown_is_answered_too():
    durations, _ = fitted()
    found = durations.quantiles(plant(0))  # machines and families that no history has
    assert np.isfinite(found.ratio).all()
    assert (found.at(0.9) > found.at(0.1)).all()


@pytest.mark.parametrize(
    ("context", "told"),
    [
        (Context(machines={"M9": MachineState()}), "machine 'M9', which does not exist"),
        (Context(operations={"J99": {}}), "job 'J99', which does not exist"),
        (Context(operations={"J0": {"7": Attributes()}}), "operation '7' of job 'J0', which does not exist"),
    ],
)
def test_a_context_about_nothing_is_refused(context, told):
    with pytest.raises(ValueError, match=told):
        fitted()[0].quantiles(plant(0), context)


def test_patterns_say_what_is_hidden():
    x = features(rows_of_history(parts()["test"]), fitted()[0].effects)
    for pattern in range(1 << len(GROUPS)):
        assert (patterns(hide(x, pattern)) == pattern).all()


def test_draws_have_the_quantiles_and_share_their_luck():
    times = Times(np.array([0.1, 0.5, 0.9]), np.array([[0.8, 1.0, 1.5]] * 4), shared=0.4)
    drawn = times.draw(np.random.default_rng(0), 20_000, np.array([0, 0, 1, 1]))
    for level, value in ((0.1, 0.8), (0.3, times.at(0.3)[0]), (0.5, 1.0), (0.9, 1.5)):
        assert abs((drawn[:, 0] <= value).mean() - level) < 0.01
    correlation = np.corrcoef(np.log(drawn).T)
    assert correlation[0, 1] == pytest.approx(0.4, abs=0.05)
    assert abs(correlation[0, 2]) < 0.03
    assert (np.diff([times.at(level)[0] for level in (0.02, 0.1, 0.4, 0.9, 0.999)]) > 0).all()


def test_a_stretched_problem_keeps_batches_and_what_has_begun():
    problem = plant(3)
    rows = options(problem)
    ratio = np.linspace(0.5, 3.0, len(rows))
    longer = stretched(problem, ratio)
    assert isinstance(longer, Problem)
    for (_, _, before, machine), (_, _, after, _), factor in zip(rows, options(longer), ratio, strict=True):
        if not before.batch:
            assert after.durations[machine] == max(1, round(before.durations[machine] * factor))
    same = stretched(problem, np.ones(len(rows)))
    assert same == problem
    deadline = problem.jobs[0].model_copy(update={"deadline": 200})
    with pytest.raises(ValueError, match=r"J0.*cannot end before"):
        stretched(problem.changed(jobs=(deadline, *problem.jobs[1:])), np.full(len(rows), 50.0))
