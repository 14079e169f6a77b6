from common.testing import check_system
from espalier_irrigation import SYSTEM


def test_it_conforms() -> None:
    assert check_system(SYSTEM)
