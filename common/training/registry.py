"""MLflow tracking and model registry: a bundle is a registered version, an alias names the one in use.

The default store is `sqlite:///<home>/mlflow.db`; `ESPALIER_TRACKING_URI` names a server.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.bundle.acceptance import required, unmet
from common.bundle.folder import Bundle, load_bundle
from common.config import settings
from common.errors import RegistryError
from common.system import find

if TYPE_CHECKING:
    from mlflow import MlflowClient

PRODUCTION = "production"
SCHEME = "models:/"


def register(bundle: Bundle, alias: str, *, allow_simulated: bool = False) -> str:
    """Log the bundle as a run, register it as a version of its system, and point `alias` at it.

    Returns the registry address `models:/<system>@<alias>`. Raises `RegistryError` when a bundle trained
    on simulated data asks for `production` without `allow_simulated`, or misses its acceptance thresholds.
    """
    manifest = bundle.manifest
    if alias == PRODUCTION and manifest.simulated and not allow_simulated:
        raise RegistryError(
            f"a bundle trained on simulated data cannot become {PRODUCTION!r}",
            where=f"{manifest.system} {manifest.version}",
            fix="train on real data, or pass --allow-simulated if you mean it",
        )
    if alias == PRODUCTION and (missed := unmet(bundle, required(find(manifest.system), bundle))):
        raise RegistryError(
            f"a bundle that misses its acceptance thresholds cannot become {PRODUCTION!r}",
            where=f"{manifest.system} {manifest.version}",
            got="; ".join(missed),
            fix="train a better one, or register it under another --alias",
        )
    client = _client()
    experiment = client.get_experiment_by_name(manifest.system)
    if experiment:
        experiment_id = experiment.experiment_id
    else:
        location = None if settings().tracking_uri else (settings().home / "registry" / manifest.system).as_uri()
        experiment_id = client.create_experiment(manifest.system, artifact_location=location)
    run = client.create_run(experiment_id, run_name=manifest.version, tags={"commit": manifest.commit})
    for name, value in _flat(manifest.config).items():
        client.log_param(run.info.run_id, name, value)
    for name, value in bundle.json("metrics.json").items():
        if isinstance(value, (int, float)):
            client.log_metric(run.info.run_id, name, value)
    client.log_artifacts(run.info.run_id, str(bundle.path), "bundle")
    client.set_terminated(run.info.run_id)
    if not client.search_registered_models(f"name = '{manifest.system}'"):
        client.create_registered_model(manifest.system)
    version = client.create_model_version(
        manifest.system,
        source=f"{run.info.artifact_uri}/bundle",
        run_id=run.info.run_id,
        tags={"bundle": manifest.version, "digest": manifest.digest, "simulated": str(manifest.simulated).lower()},
    )
    client.set_registered_model_alias(manifest.system, alias, version.version)
    return f"{SCHEME}{manifest.system}@{alias}"


def resolve(address: str) -> Path:
    """Local folder of a bundle: a path as it is, or `models:/<system>@<alias>` fetched from the registry.

    Raises `RegistryError` when the alias is unknown.
    """
    if not address.startswith(SCHEME):
        return Path(address)
    system, _, alias = address.removeprefix(SCHEME).partition("@")
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client = _client()
    try:
        version = client.get_model_version_by_alias(system, alias)
    except MlflowException:
        raise RegistryError(
            "no such alias in the registry",
            got=repr(address),
            fix=f"register one with `espalier train {system} --register --alias {alias}`",
        ) from None
    folder = Path(download_artifacts(artifact_uri=version.source, tracking_uri=settings().mlflow_uri))
    if load_bundle(folder).manifest.digest != version.tags["digest"]:
        raise RegistryError(
            "the stored bundle is not the one that was registered", where=address, fix="register it again"
        )
    return folder


def _client() -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    # Importing MLflow sets its own level, so quieten it afterwards.
    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    settings().home.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=settings().mlflow_uri, registry_uri=settings().mlflow_uri)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested config as `section.name` pairs; MLflow stores parameters flat and up to 6,000 characters."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)[:6000]
    return flat
