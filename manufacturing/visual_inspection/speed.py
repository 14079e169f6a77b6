"""The speed benchmark: pictures of 224 x 224 through ONNX Runtime, and the memory that the bank takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from common.evaluation.report import Metric, Report, Seconds
from common.progress import bar
from common.provenance import commit, cores, machine, peak_rss_mb
from common.vision.images import png, resized, to_base64
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.data import load
from manufacturing.visual_inspection.evaluate import restored
from manufacturing.visual_inspection.fit import score
from manufacturing.visual_inspection.serve import Inspection, InspectionPredictor
from manufacturing.visual_inspection.train import train

SIDE = 224
PICTURES, ROUNDS = 60, 7
COMPARED = 40
"""Pictures whose scores in torch and in ONNX Runtime are compared."""


def speed(config: Config) -> Report:
    """Medians of rounds with their range; a request is decoded, inspected, and its heat map encoded as PNG."""
    started = time.perf_counter()
    data = load(config)
    loaded = time.perf_counter()
    bundle = train(config)
    trained = time.perf_counter()
    predictor = InspectionPredictor.load(bundle)
    good = data.rows(np.flatnonzero(data.listed)).picture[:PICTURES]
    pictures = [np.asarray(Image.fromarray(picture).resize((SIDE, SIDE))) for picture in good]
    requests = [Inspection(picture=to_base64(png(picture)), any_way_up=True) for picture in pictures]
    both = cores()
    with bar("inspecting", 3.0) as advance, ThreadPoolExecutor(both) as pool:
        one = _rates(lambda: [predictor.measure(picture) for picture in pictures], len(pictures))
        advance(1)
        all_cores = _rates(lambda: list(pool.map(predictor.measure, pictures)), len(pictures))
        advance(1)
        whole = _rates(lambda: list(pool.map(lambda request: predictor.predict([request]), requests)), len(pictures))
        advance(1)
    inspector = restored(bundle, config)
    off = [
        abs(predictor.measure(picture)[0] - score(inspector, resized(picture, config.scale)))
        for picture in pictures[:COMPARED]
    ]
    banks = sum(value.nbytes for name, value in bundle.arrays("weights.safetensors").items() if name.endswith(".bank"))
    metrics = {
        "images_per_second": all_cores,
        "images_per_second_one_core": one,
        "requests_per_second": whole,
        "bank_mb": _exact(banks / 1e6),
        "model_mb": _exact(len(bundle.read("model.onnx")) / 1e6),
        "largest_difference_onnx": _exact(max(off)),
    }
    return Report(
        system=SYSTEM.name,
        preset="speed",
        dataset=data.id,
        protocol=f"onnx-{SIDE}",
        simulated=data.simulated,
        data_sha256=data.sha256,
        metrics=metrics,
        seconds=Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - trained),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


def _rates(call: Callable[[], object], pictures: int) -> Metric:
    """Pictures per second: the median of the rounds, and their range."""
    call()
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        rates.append(pictures / (time.perf_counter() - began))
    return Metric(value=float(np.median(rates)), low=min(rates), high=max(rates), n=ROUNDS)


def _exact(value: float) -> Metric:
    return Metric(value=float(value), low=float(value), high=float(value), n=1)
