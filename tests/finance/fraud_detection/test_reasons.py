from __future__ import annotations

import numpy as np

from finance.fraud_detection.definition import Definition
from finance.fraud_detection.reasons import says, strongest


def test_every_feature_has_words():
    definition = Definition(
        entities=("card", "shop", "device_ip"), partners=("shop", "card", "card"), windows=(90_000, 86_400_000)
    )
    told = {name: says(name) for name in definition.names}
    assert told["card_risk_7d"] == "share of known frauds of this card in 7d"
    assert told["device_ip_cards_90s"] == "different cards of this device_ip in 90s"
    assert told["shop_since_first_fraud"] == "hours since the first known fraud of this shop"
    assert len(set(told.values())) == len(told)


def test_only_what_speaks_for_fraud_is_a_reason_strongest_first():
    definition = Definition()
    x, adds = np.zeros(len(definition.names)), np.zeros(len(definition.names) + 1)
    x[:3], adds[:3], adds[-1] = (5.0, np.nan, 2.0), (0.5, 1.5, -1.0), 0.7
    found = strongest(definition, x, adds)
    told = [(one.feature, one.value, one.adds) for one in found]
    assert told == [("hour", None, 1.5), ("customer_sequence", None, 0.7), ("amount", 5.0, 0.5)]
    assert found[1].says == "latest transactions of this customer, one after the other"
