"""A real MLflow on SQLite in a temporary home."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from garden import Config, Grower, train

from common.bundle import load_bundle
from common.config import settings
from common.errors import BundleCorrupted, RegistryError
from common.training.registry import register, resolve

pytestmark = pytest.mark.usefixtures("garden")


def test_a_registered_bundle_is_found_by_its_alias_and_a_later_one_takes_it_over() -> None:
    address = ""
    for slope in (1.0, 2.0):
        bundle = train(Config(simulated=False, slope=slope))
        address = register(bundle, "production")
        assert address == "models:/garden.growth@production"
        found = resolve(address)
        assert found != bundle.path
        assert load_bundle(found).manifest == bundle.manifest
        assert Grower.load(load_bundle(found)).slope == slope
    register(train(Config(simulated=False, slope=3.0)), "candidate")
    assert Grower.load(load_bundle(resolve(address))).slope == 2.0
    assert Grower.load(load_bundle(resolve("models:/garden.growth@candidate"))).slope == 3.0


def test_the_run_keeps_settings_metrics_and_where_it_comes_from() -> None:
    from mlflow import MlflowClient

    bundle = train(Config(simulated=False))
    register(bundle, "production")
    client = MlflowClient(settings().mlflow_uri, settings().mlflow_uri)
    version = client.get_model_version_by_alias("garden.growth", "production")
    assert version.tags == {"bundle": bundle.manifest.version, "digest": bundle.manifest.digest, "simulated": "false"}
    run = client.get_run(version.run_id)
    assert run.data.params["soil.lime"] == "0.5"
    assert run.data.metrics == {"valid_error": 0.25}
    assert run.data.tags["commit"] == bundle.manifest.commit
    assert settings().home in Path(version.source.removeprefix("file://")).parents


def test_simulated_data_is_no_production_unless_one_means_it() -> None:
    bundle = train(Config())
    with pytest.raises(RegistryError, match=r"garden\.growth .*simulated data cannot become 'production'; .*--allow-"):
        register(bundle, "production")
    assert not (settings().home / "mlflow.db").exists()
    assert register(bundle, "simulated") == "models:/garden.growth@simulated"
    assert register(bundle, "production", allow_simulated=True) == "models:/garden.growth@production"


def test_an_unknown_alias_says_how_to_make_it() -> None:
    for address in ("models:/garden.growth@production", "models:/no.such@x", "models:/garden.growth"):
        with pytest.raises(RegistryError, match=r"no such alias in the registry: got 'models:/.*register one with"):
            resolve(address)


def test_a_path_is_itself(tmp_path: Path) -> None:
    assert resolve(str(tmp_path)) == tmp_path


@pytest.fixture
def stored() -> Iterator[Path]:
    """The folder in the store of a registered bundle."""
    register(train(Config(simulated=False)), "production")
    [manifest] = (settings().home / "registry").rglob("manifest.json")
    return manifest.parent


def test_a_bundle_damaged_or_exchanged_in_the_store_is_refused(stored: Path) -> None:
    other = train(Config(simulated=False, slope=9.0)).path
    (stored / "preprocess.json").write_bytes((other / "preprocess.json").read_bytes())
    with pytest.raises(BundleCorrupted, match=r"file preprocess\.json"):
        resolve("models:/garden.growth@production")
    for file in other.iterdir():
        (stored / file.name).write_bytes(file.read_bytes())
    with pytest.raises(RegistryError, match="not the one that was registered; register it again"):
        resolve("models:/garden.growth@production")


def test_registering_is_quiet() -> None:
    """In a fresh process: MLflow sets up its log at its first import, its tables at the first use."""
    code = "from garden import *; from common.training.registry import *; resolve(register(train(Config()), 'x'))"
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "a word to the log\n")
