from espalier_irrigation.data import FEATURES, load


def test_rows_are_within_what_their_features_declare() -> None:
    data = load(rows=500, seed=1)
    assert data.x.shape == (500, len(FEATURES))
    for column, feature in zip(data.x.T, FEATURES.values(), strict=True):
        assert column.min() >= feature.minimum
        assert column.max() <= feature.maximum
    assert 0 < data.y.mean() < 1


def test_the_seed_decides_and_the_parts_share_no_row() -> None:
    assert load(500, 7).sha256 == load(500, 7).sha256 != load(500, 8).sha256
    parts = load(500, 7).split(seed=0)
    assert sum(len(part.y) for part in parts.values()) == 500
    rows = [{tuple(row) for row in part.x.tolist()} for part in parts.values()]
    assert not rows[0] & rows[1] | rows[0] & rows[2] | rows[1] & rows[2]
