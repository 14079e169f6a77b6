"""The command line is a contract (design, section 9): verbs, exit codes, what stands on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from garden import Config, Grower

import common.cli
from common.audit.store import pack
from common.bundle import load_bundle
from common.config import settings
from common.evaluation.report import Report
from common.training.registry import resolve

pytestmark = pytest.mark.usefixtures("garden")


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def espalier(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Done]:
    """Run a command in an empty folder; stdout and stderr as a shell would get them."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["espalier", *arguments])
        code: int | str | None = 0
        try:
            common.cli.main()
        except SystemExit as stop:
            code = stop.code
        assert isinstance(code, int)
        return Done(code, *capfd.readouterr())

    return run


def test_every_verb_is_there_and_has_help(espalier: Callable[..., Done]) -> None:
    whole = espalier("--help")
    assert whole.code == 0
    verbs = ("list", "data", "train", "tune", "evaluate", "bench", "serve", "score", "new", "update", "check", "demo")
    for verb in verbs:
        assert f"  {verb} " in whole.out
        assert espalier(verb, "--help").code == 0
    for verb in ("list", "get", "check", "draft"):
        assert espalier("data", verb, "--help").code == 0


def test_list_as_text_and_as_json(espalier: Callable[..., Done]) -> None:
    text = espalier("list")
    assert (text.code, text.err) == (0, "")
    assert text.out.startswith("garden.growth  Grows.\n    regression; presets sample, real\n    risk minimal\n")
    listed = espalier("list", "--json")
    assert (listed.code, listed.err) == (0, "")
    assert json.loads(listed.out)[0] == {
        "name": "garden.growth",
        "task": "regression",
        "summary": "Grows.",
        "presets": ["sample", "real"],
        "risk": "minimal",
    }


def test_evaluate_shows_each_threshold_and_exits_1_when_one_is_missed(
    espalier: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("common.demo.report", lambda bundle: tmp_path / "report.html")
    bundle = espalier("train", "garden.growth", "--preset", "sample").out.strip()
    for bound, code, word in (("0.3", 0, "met"), ("0.2", 1, "NOT MET")):
        (tmp_path / "acceptance.toml").write_text(f'[thresholds]\n"garden.growth" = ["valid_error <= {bound}"]\n')
        done = espalier("evaluate", bundle)
        assert (done.code, done.out) == (code, f"{tmp_path / 'report.html'}\n")
        assert done.err.endswith(f"{word}: valid_error is 0.25, expected <= {bound}\n")


def test_train_prints_the_path_last_and_alone_on_stdout(espalier: Callable[..., Done]) -> None:
    done = espalier("train", "garden.growth", "--preset", "sample", "slope=3", "soil.depth=4")
    assert done.code == 0
    assert "a word to the log" in done.err
    [path] = done.out.splitlines()
    bundle = load_bundle(path)
    assert bundle.manifest.config == Config(slope=3, soil={"depth": 4}).model_dump()


def test_train_registers_and_refuses_simulated_data_as_production(espalier: Callable[..., Done]) -> None:
    refused = espalier("train", "garden.growth", "--preset", "sample", "--register")
    assert (refused.code, refused.out) == (1, "")
    assert "simulated data cannot become 'production'" in refused.err
    done = espalier("train", "garden.growth", "--preset", "sample", "--register", "--allow-simulated", "slope=5")
    assert done.code == 0
    assert "models:/garden.growth@production" in done.err
    registered = load_bundle(resolve("models:/garden.growth@production"))
    assert registered.manifest.digest == load_bundle(done.out.strip()).manifest.digest
    named = espalier("train", "garden.growth", "--preset", "sample", "--register", "--alias", "trial")
    assert named.code == 0
    assert Grower.load(load_bundle(resolve("models:/garden.growth@trial"))).slope == 2.0


def test_tune_prints_overrides_that_train_takes(espalier: Callable[..., Done]) -> None:
    tuned = espalier("tune", "garden.growth", "--preset", "sample", "--trials", "3", "slope=3")
    assert tuned.code == 0
    assert "best validation value" in tuned.err
    best = tuned.out.splitlines()
    assert [line.partition("=")[0] for line in best] == ["soil.depth", "soil.lime"]
    trained = espalier("train", "garden.growth", "--preset", "sample", *best)
    assert trained.code == 0
    config = load_bundle(trained.out.strip()).manifest.config
    assert [f"soil.{name}={config['soil'][name]}" for name in ("depth", "lime")] == best


def test_bench_writes_its_file_and_shows_a_table(espalier: Callable[..., Done], tmp_path: Path) -> None:
    done = espalier("bench", "garden.growth", "--preset", "sample")
    assert done.code == 0
    assert "wrote benchmarks/garden.growth/sample.json" in done.err
    assert "error" in done.out
    [written] = json.loads((tmp_path / "benchmarks" / "garden.growth" / "sample.json").read_text())
    assert Report.model_validate(written).preset == "sample"


def test_bench_json_is_all_that_stands_on_stdout(espalier: Callable[..., Done], tmp_path: Path) -> None:
    done = espalier("bench", "garden.growth", "--preset", "sample", "--json")
    assert done.code == 0
    assert "a word to the log" in done.err
    assert json.loads(done.out) == json.loads((tmp_path / "benchmarks" / "garden.growth" / "sample.json").read_text())


def test_bench_with_overrides_keeps_the_file_of_the_preset(espalier: Callable[..., Done], tmp_path: Path) -> None:
    done = espalier("bench", "garden.growth", "slope=4", "--preset", "sample", "--json")
    assert done.code == 0
    assert json.loads(done.out)[0]["metrics"]["error"]["value"] == 4
    assert "no benchmark file is written" in done.err
    assert not (tmp_path / "benchmarks").exists()


@pytest.mark.parametrize("target", ["all", "garden"])
def test_bench_skips_a_system_without_a_benchmark_with_a_line(espalier: Callable[..., Done], target: str) -> None:
    done = espalier("bench", target, "--preset", "sample", "--json")
    assert done.code == 0
    assert [report["system"] for report in json.loads(done.out)] == ["garden.growth"]
    assert "garden.wild: skipped, this system has no bench\n" in done.err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train no.such", "unknown system: got 'no.such', expected one of garden.growth, garden.wild."),
        (
            "train garden.grwoth",
            "unknown system: got 'garden.grwoth', expected one of garden.growth, garden.wild; "
            "did you mean 'garden.growth'?",
        ),
        ("bench no.such", "unknown system: got 'no.such', expected one of garden.growth, garden.wild."),
        ("bench nowhere", "no system in this vertical: got 'nowhere', expected one of garden."),
        ("serve nowhere", "no system in this vertical: got 'nowhere', expected one of garden."),
        ("demo nowhere --once", "no system in this vertical: got 'nowhere', expected one of garden."),
        ("train garden.wild", "garden.wild: this system has no config."),
        ("bench garden.wild", "garden.wild: this system has no bench."),
        ("train garden.growth --preset none", "unknown preset: got 'none', expected one of sample, real."),
        ("train garden.growth", "unknown preset: got 'reference', expected one of sample, real."),
        ("train garden.growth --preset real seed", "an override is written key=value: got 'seed', expected for"),
        ("train garden.growth --preset real =7", "an override is written key=value: got '=7', expected for example"),
        ("train garden.growth --preset real sed=7", "sed: unknown setting; known are seed, slope, dataset, simulated"),
        ("train garden.growth --preset real soil.deep=7", "soil.deep: unknown setting; known are depth, lime, layers."),
        ("tune garden.growth --preset real soil.deep=7", "soil.deep: unknown setting; known are depth, lime, layers."),
        (
            "bench garden.growth --preset real soil.layers.top.deep=7",
            "soil.layers.top.deep: unknown setting; known are depth, lime, layers.",
        ),
        ("train garden.growth --preset real seed=x", "seed: bad setting: got 'x', expected a valid integer, unable"),
        ("train garden.growth --preset real soil.depth=10", "soil.depth: bad setting: got 10, expected less than or"),
        ("train garden.growth --preset real slope.a=1", "slope: bad setting: got {'a': 1}, expected a valid number."),
        ("train garden.growth --preset real seed=1 seed.a=1", "seed.a: only sections have fields: got 'seed', a value"),
        ("data get no-such", "unknown data set: got 'no-such', expected one of "),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    espalier: Callable[..., Done], tmp_path: Path, command: str, sentence: str
) -> None:
    done = espalier(*command.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"espalier: {sentence}")
    assert done.err.endswith((".\n", "?\n"))
    assert done.err.count("\n") == 1
    assert not (tmp_path / "home" / "bundles").exists()


@pytest.mark.parametrize("command", ["", "no-verb", "train", "tune garden.growth --trials 0", "list --no-option"])
def test_what_the_command_line_itself_refuses_is_exit_code_2_too(espalier: Callable[..., Done], command: str) -> None:
    assert espalier(*command.split()).code == 2


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("evaluate {0}", "{0}: no manifest.json in this folder; give the path that `espalier train` printed last."),
        ("score {0} a.csv b.csv", "{0}: no manifest.json in this folder; give the path that `espalier train` printed"),
        ("serve garden --bundle {0}", "{0}: no manifest.json in this folder; give the path that `espalier train`"),
        ("evaluate models:/garden.growth@none", "no such alias in the registry: got 'models:/garden.growth@none'; reg"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_1(
    espalier: Callable[..., Done], tmp_path: Path, command: str, sentence: str
) -> None:
    done = espalier(*command.format(tmp_path).split())
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"espalier: {sentence.format(tmp_path)}")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate {0}", "score {0} in.csv out.csv", "serve garden --bundle {0}"])
def test_a_corrupted_bundle_and_one_of_a_newer_format_are_one_sentence(
    espalier: Callable[..., Done], command: str
) -> None:
    bundle = Path(espalier("train", "garden.growth", "--preset", "sample").out.strip())
    manifest = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(manifest.replace('"format": "1.0"', '"format": "2.0"'))
    newer = espalier(*command.format(bundle).split())
    assert (newer.code, newer.out) == (1, "")
    assert newer.err == (
        f"espalier: bundle {bundle}: written by a newer Espalier: got format 2.0, expected at most 1.x; "
        "upgrade Espalier or train the bundle again with this version.\n"
    )
    (bundle / "manifest.json").write_text(manifest)
    (bundle / "preprocess.json").write_text((bundle / "preprocess.json").read_text().replace("2", "3"))
    corrupted = espalier(*command.format(bundle).split())
    assert (corrupted.code, corrupted.out) == (1, "")
    assert corrupted.err.startswith(f"espalier: bundle {bundle}, file preprocess.json: the content changed: got sha256")
    assert corrupted.err.endswith("; restore the bundle from the registry or train it again.\n")
    assert corrupted.err.count("\n") == 1


def test_what_the_system_refuses_is_one_sentence_too(
    espalier: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blocked").write_text("a file where the home should be")
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "blocked"))
    settings.cache_clear()
    done = espalier("train", "garden.growth", "--preset", "sample")
    assert (done.code, done.out) == (1, "")
    assert f"'{tmp_path}/blocked/bundles" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_score_refuses_a_system_that_reads_no_tables(espalier: Callable[..., Done]) -> None:
    bundle = espalier("train", "garden.growth", "--preset", "sample").out.strip()
    done = espalier("score", bundle, "in.csv", "out.csv")
    assert (done.code, done.out) == (2, "")
    assert "espalier: Grower answers requests only; use its service instead of a file." in done.err
    done = espalier("score", bundle, "in.csv", "out.csv", "--pictures", "maps")
    assert (done.code, done.out) == (2, "")
    assert "espalier: --pictures is for a model of pictures: got Grower." in done.err


def test_ctrl_c_is_no_traceback(espalier: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(config: Config) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("garden.train", stop)
    done = espalier("train", "garden.growth", "--preset", "sample")
    assert done.code == 130
    assert "Traceback" not in done.err


def test_audit_export_erase_and_purge(espalier: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    from common.audit.setup import open_mask, open_store

    monkeypatch.delenv("DATABASE_URL", raising=False)
    settings.cache_clear()
    store, mask = open_store(settings()), open_mask(settings())
    base = {"system": "toy.adder", "version": "1", "role": "champion", "request_id": "r", "caller": "c"}
    packed = pack(b'[{"a": 1}]')
    store.add(
        [
            {**base, "id": key * 24, "time": at, "subject": mask.subject(subject), "simulated": False, "ms": 1.0}
            | {"rows": 1, "inputs": packed, "answers": packed}
            for key, at, subject in (("a", 1.0, b"ann"), ("b", time.time(), b"ann"), ("c", time.time(), b"bob"))
        ]
    )
    exported = espalier("audit", "export", "out.jsonl")
    assert (exported.code, exported.out) == (0, "out.jsonl\n")
    assert [json.loads(line)["inputs"] for line in Path("out.jsonl").read_text().splitlines()] == [{"a": 1}] * 3
    assert espalier("audit", "purge", "--days", "1").out == "1 decisions deleted\n"
    assert espalier("audit", "erase", "ann").out == "1 decisions erased\n"
    assert espalier("audit", "erase", "ann").out == "0 decisions erased\n"
    store.close()
