from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from guarded import AUDIENCE, ISSUER, PREDICT, Issuer, Service, make_app

from common.errors import UsageError
from common.serving.security.keyfile import revoke_key

STRONG = "3f9ac14c7d20b8e6"


@pytest.fixture
def production(service: Service) -> Service:
    service.settings.environment = "production"
    return service


def test_production_without_authentication_does_not_start(production: Service) -> None:
    with pytest.raises(UsageError, match="a service in production needs authentication; set ESPALIER_KEYS_FILE"):
        production.client()
    production.settings.keys_file = production.keys_file
    with pytest.raises(UsageError, match="cannot be read"):
        production.client()


def test_production_with_an_active_key_starts_and_without_one_does_not(production: Service) -> None:
    production.key("admin", expires=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(UsageError, match="no key is active"):
        production.client()
    headers = production.key("admin")
    with production.client() as client:
        assert client.post(PREDICT).status_code == 401
        assert client.post(PREDICT, headers=headers).is_success


def test_a_service_whose_last_key_is_revoked_stays_closed(service: Service) -> None:
    key_id = service.key("admin")["authorization"].split("_")[1]
    revoke_key(service.keys_file, key_id)
    with service.client() as client:
        assert client.post(PREDICT).status_code == 401


def test_tokens_need_their_whole_configuration(service: Service, issuer: Issuer, tmp_path: Path) -> None:
    service.settings.jwt_issuer = ISSUER
    with pytest.raises(UsageError, match="by half: expected ESPALIER_JWT_AUDIENCE and ESPALIER_JWT_JWKS too"):
        service.client()
    place = tmp_path / "jwks.json"
    place.write_text(json.dumps(issuer.jwks()))
    service.settings.jwt_audience, service.settings.jwt_jwks = AUDIENCE, str(place)
    service.settings.environment = "production"
    with service.client() as client:
        assert client.post(PREDICT).status_code == 401
    service.settings.jwt_jwks = "http://issuer.example/jwks"
    with pytest.raises(UsageError, match="expected https://"):
        make_app(service.settings)


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("database_url", "postgresql://espalier:espalier@db/espalier"),
        ("database_url", "postgresql://app:CHANGEME@db/espalier"),
        ("database_url", "postgresql://same-as-the-user:same-as-the-user@db/x"),
        ("redis_url", "redis://:short@cache:6379/0"),
        ("tracking_uri", "https://me:mysecretpassword@mlflow"),
    ],
)
def test_default_and_weak_secrets_are_refused_in_production_only(production: Service, setting: str, url: str) -> None:
    production.key("admin")
    setattr(production.settings, setting, url)
    with pytest.raises(UsageError, match="a default or weak password") as caught:
        production.client()
    assert url not in str(caught.value)
    production.settings.environment = "development"
    production.client()


def test_strong_secrets_and_urls_without_one_start(production: Service) -> None:
    production.key("admin")
    production.settings.database_url = f"postgresql://app:{STRONG}@db/espalier"
    production.settings.redis_url = "redis://cache:6379/0"
    production.client()
    production.settings.redis_url = "http://cache"
    with pytest.raises(UsageError, match="not a Redis URL"):
        production.client()
