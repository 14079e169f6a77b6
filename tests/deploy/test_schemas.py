"""Each file of deploy/ by the schema or the linter of its kind, and what they name by what the code has."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from artefacts import DEPLOY, ROOT, alerts_documented, compose, dashboards, panels, rules, values

from common.config import Settings
from common.serving.app import create_app
from common.serving.run import DRAIN_S

BIN = Path(sys.executable).parent
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").rglob("*.yaml") if path.name != "kustomization.yaml")


def documents() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def manifest(kind: str) -> dict[str, Any]:
    return next(document for document in documents() if document["kind"] == kind)


def test_the_dockerfile_passes_hadolint() -> None:
    run = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_compose_follows_its_schema() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_follow_the_schema_of_kubernetes(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_wrong_manifest_would_be_found() -> None:
    wrong = manifest("Deployment") | {"spec": {**manifest("Deployment")["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_kustomizations_name_files_that_are_there_and_all_of_them() -> None:
    named = set()
    for path in (DEPLOY / "kubernetes").rglob("kustomization.yaml"):
        for name in yaml.safe_load(path.read_text())["resources"]:
            resource = (path.parent / name).resolve()
            assert resource.exists(), name
            named.add(resource)
    assert {path.resolve() for path in MANIFESTS} <= named


@pytest.mark.parametrize("path", sorted((DEPLOY / "kubernetes").glob("*/namespace.yaml")), ids=lambda p: p.parent.name)
def test_an_overlay_names_its_vertical_everywhere_and_no_other(path: Path) -> None:
    vertical = path.parent.name
    overlay = yaml.safe_load((path.parent / "kustomization.yaml").read_text())
    assert yaml.safe_load(path.read_text())["metadata"]["name"] == overlay["namespace"] == f"espalier-{vertical}"
    assert overlay["labels"][0]["pairs"] == {"app.kubernetes.io/instance": vertical}
    assert overlay["images"][0]["newName"].endswith(f"/espalier-{vertical}")


def test_every_vertical_has_the_two_extras_that_the_makefile_and_the_image_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    for vertical in {name.partition(".")[0] for name in project["entry-points"]["espalier.systems"]}:
        whole, serving = "".join(extras[vertical]), "".join(extras[f"{vertical}-serve"])
        assert "serve" in whole, vertical
        assert "serve" in serving, vertical
        assert not re.search(r"\b(tabular|deep|vision|torch|scikit-learn)\b", serving), vertical


def test_pods_are_restricted_and_probed_where_the_service_answers() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["terminationGracePeriodSeconds"] > DRAIN_S
    routes = set(create_app("finance").openapi()["paths"]) if (ROOT / "finance").is_dir() else set()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert not routes or container[probe]["httpGet"]["path"] in routes


def test_every_setting_that_is_named_exists() -> None:
    known = {f"ESPALIER_{name.upper()}" for name in Settings.model_fields}
    known |= {"ESPALIER_VERTICAL", "ESPALIER_HOST", "ESPALIER_BUNDLES"}  # options of `espalier serve`
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            text = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)
            for name in re.findall(r"\bESPALIER_[A-Z_]+\b", text):
                assert name in known, f"{path}: {name}"


def test_compose_gives_no_secret_away_and_gives_the_drain_its_time() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    for name, default in re.findall(r"\$\{(\w+)(:-[^}]*|:\?[^}]*)?\}", text):
        if re.search("PASSWORD|SECRET|KEY", name):
            assert default.startswith(":?"), name
    example = (DEPLOY / ".env.example").read_text()
    for line in example.splitlines():
        if re.match(r"\w*(PASSWORD|SECRET)\w*=", line):
            assert line.endswith("="), "a secret with a default is one that everybody knows"
    assert int(compose()["services"]["service"]["stop_grace_period"].removesuffix("s")) > DRAIN_S
    for service in compose()["services"].values():
        assert service["image"].partition("@")[0].rpartition(":")[2] not in ("latest", service["image"])
        for port in service.get("ports", ()):
            assert str(port).startswith("127.0.0.1:")


def test_dashboards_hang_together() -> None:
    assert len({dashboard["uid"] for dashboard in dashboards().values()}) == len(dashboards()) >= 2
    for dashboard in dashboards().values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        places = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
            assert not cells & places, panel["title"]
            places |= cells
    for name, panel in panels():
        assert panel["targets"], (name, panel["title"])
        assert all(target["expr"] for target in panel["targets"])


def test_every_alert_has_its_page_in_the_runbook() -> None:
    named = {rule["alert"] for rule in rules() if "alert" in rule}
    assert named == alerts_documented()
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"]
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]


def test_the_image_runs_as_the_user_that_the_manifests_say() -> None:
    assert values("runtime", "ENV")["ESPALIER_ENVIRONMENT"] == "production"
    assert manifest("Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 10001
