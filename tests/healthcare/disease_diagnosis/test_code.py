from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_serving_needs_no_library_of_training():
    code = (
        "import sys, healthcare.disease_diagnosis.serve, healthcare.disease_diagnosis.pictures\n"
        "print(*sorted({'torch', 'sklearn', 'pandas', 'xgboost', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_intended_use_stands_in_every_page_that_people_read():
    for page in ("healthcare/README.md", "healthcare/disease_diagnosis/README.md", "docs/disease_diagnosis.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert "medical device" in text, page
