from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.evaluation.metrics import auc
from common.vision.backbones import load_backbone
from healthcare.disease_diagnosis.augment import Augmented, erased, varied
from healthcare.disease_diagnosis.bench import bench
from healthcare.disease_diagnosis.data import load
from healthcare.disease_diagnosis.evaluate import evaluate
from healthcare.disease_diagnosis.evaluate_pictures import CORRUPTIONS, looked_at, photographs
from healthcare.disease_diagnosis.fit_pictures import as_tensor, fit_ensemble, fit_head, log_odds
from healthcare.disease_diagnosis.network import Ensemble, Net, Transfer, standardised
from healthcare.disease_diagnosis.serve import DiagnosisPredictor
from healthcare.disease_diagnosis.train import save_pictures
from healthcare.disease_diagnosis.typical import DONE, Typical


def test_a_test_that_was_not_done_changes_the_answer_not_its_order_of_magnitude(heart, patients):
    """Directional: leaving a test out moves the probability towards what the other tests say, never to the opposite."""
    columns = patients.rows(patients.site == "cleveland").columns()
    whole = heart.engine.main.chances(columns)[:, 1]
    columns["thal"] = np.full(len(whole), None, object)
    without = heart.engine.main.chances(columns)[:, 1]
    assert np.corrcoef(whole, without)[0, 1] > 0.9
    assert (whole != without).any()


def test_larger_and_more_irregular_nuclei_are_more_malignant(breast, config):
    columns = load(config).columns()
    before = breast.engine.main.chances(columns)[:, 1]
    worse = {name: v * (1.3 if name.startswith("worst_") else 1.0) for name, v in columns.items()}
    assert breast.engine.main.chances(worse)[:, 1].mean() > before.mean() + 0.1


def test_exposure_hardly_moves_a_chest(chest, chests):
    raw, _ = looked_at(chest.engine, chests.picture[:40])
    darker, _ = looked_at(chest.engine, np.round(0.6 * chests.picture[:40] + 20).astype(np.uint8))
    assert np.abs(raw - darker).mean() < 0.1 * raw.std() + 0.2


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupted_chests_are_still_told_apart(chest, chests, name):
    test = chests.split()["test"]
    pictures = np.clip(np.round(CORRUPTIONS[name](test.picture.astype(float))), 0, 255).astype(np.uint8)
    raw, _ = looked_at(chest.engine, pictures)
    assert auc(test.y, raw) > 0.8


def test_what_is_no_chest_is_refused_and_what_was_done_to_one_is_named(chest, chests):
    typical, test = chest.engine.typical, chests.split()["test"].picture
    assert typical.refused(test).mean() < 0.15
    assert typical.refused(photographs(40)).mean() > 0.9
    for name, do in DONE.items():
        changed = do(test)
        assert typical.refused(changed).mean() > 0.9
        assert [typical.remedy(one) for one in changed[:10]].count(name) >= 8


def test_what_is_typical_survives_being_written_down(chest, chests):
    typical = chest.engine.typical
    again = Typical.of(typical.arrays())
    assert (again.p_value(chests.picture[:9]) == typical.p_value(chests.picture[:9])).all()


def test_the_exported_ensemble_is_torch_s(chest, chest_bundle, chests):
    ensemble = Ensemble([Net((8, 16, 32), (1, 1, 1))])
    ensemble.load_state_dict({k: torch.from_numpy(v) for k, v in chest_bundle.arrays("weights.safetensors").items()})
    raw, evidence = looked_at(chest.engine, chests.picture[:5])
    with torch.no_grad():
        ours, maps = ensemble.eval()(torch.from_numpy(chests.picture[:5]).float()[:, None] / 255)
    assert raw == pytest.approx(ours.numpy(), abs=1e-4)
    assert evidence == pytest.approx(maps.numpy(), abs=1e-3)
    assert maps.mean((1, 2)).numpy() == pytest.approx(ours.numpy(), abs=1e-5)


def test_augmented_pictures_stay_pictures(chests):
    torch.manual_seed(0)
    x = torch.from_numpy(chests.picture[:64]).float()[:, None] / 255
    seen = varied(x)
    assert seen.shape == x.shape
    assert 0 <= seen.min() <= seen.max() <= 1
    assert (seen != x).any(dim=(1, 2, 3)).all()
    covered = erased(standardised(x).clone(), 1.0)
    assert (covered == 0).flatten(1).sum(1).min() >= 16
    examples = Augmented(x, torch.from_numpy(chests.y[:64]).float(), 0.3)
    assert examples[3][0].shape == (1, 28, 28)


def test_the_report_of_chests_is_of_the_closed_part(chest_bundle, chests):
    report, sections = evaluate(chest_bundle)
    assert report.simulated
    assert report.metrics["auc"].n == len(chests.split()["test"])
    assert {part.group for part in report.slices if part.name == "corruption"} == set(CORRUPTIONS)
    assert [section.title for section in sections][:2] == ["Intended use", "Discrimination"]


@pytest.mark.parametrize("model", ["transfer", "fine-tuned"])
def test_a_backbone_under_a_linear_layer_is_exported_with_its_evidence(home, chest_config, model):
    """With random weights: what is trained, and that the graph says the same as torch."""
    changes = {"model": model, "backbone": "random", "backbone_side": 64, "nets": 1}
    optimisation = chest_config.picture.optimisation.model_copy(update={"epochs": 1})
    settings = chest_config.picture.model_copy(update=changes | {"optimisation": optimisation})
    config = chest_config.model_copy(update={"picture": settings, "pictures": 150})
    data = load(config)
    split = data.split()
    ensemble = fit_ensemble(config, split["train"])
    untouched = load_backbone("random", seed=config.seed).state_dict()
    same = [torch.equal(untouched[name], value) for name, value in ensemble.nets[0].backbone.state_dict().items()]
    assert all(same) == (model == "transfer")
    engine = DiagnosisPredictor.load(save_pictures(config, data, split, ensemble)).engine
    raw, evidence = looked_at(engine, split["test"].picture)
    assert auc(split["test"].y, raw) > 0.7
    assert raw == pytest.approx(log_odds(ensemble, split["test"].picture), abs=1e-3)
    assert evidence.shape[1:] == (4, 4)
    assert evidence.mean((1, 2)) == pytest.approx(raw, abs=1e-4)


def test_the_linear_layer_is_the_logistic_regression_on_pooled_features(chest_config, chests):
    net = Transfer(load_backbone("random", seed=0), 32)
    fit_head(net, chests, 0.01)
    with torch.no_grad():
        x = standardised(as_tensor(chests.picture))
        pooled = torch.cat([net.features(way).mean((2, 3)) for way in (x, x.flip(3))]).double().numpy()
        ours = net(x).double().numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(pooled, np.tile(chests.y, 2))
    assert ours == pytest.approx(model.decision_function(pooled[: len(ours)]), abs=0.1)  # float32


def test_the_benchmark_of_chests_has_transfer_learning_beside_ours(home, chest_config):
    optimisation = chest_config.picture.optimisation.model_copy(update={"epochs": 1})
    changes = {"optimisation": optimisation, "backbone": "random", "backbone_side": 32}
    [report] = bench(chest_config.model_copy(update={"picture": chest_config.picture.model_copy(update=changes)}), "x")
    assert set(report.baselines) == {"logistic regression on pixels", "one net", "frozen random, linear layer"}
    assert {"auc", "accuracy"} <= report.baselines["frozen random, linear layer"].keys() & report.metrics.keys()
    assert report.metrics["request_ms"].value > 0
