from __future__ import annotations

from pathlib import Path

import pytest

from common.data.card import Published
from common.evaluation.report import Metric, Report, write_json
from common.evaluation.tables import main, results_table

BLOCK = "# Title\n\n<!-- results:branch.system:reference -->\n<!-- end -->\n\nAfter.\n"


@pytest.fixture
def project(tmp_path: Path, report: Report) -> Path:
    write_json(tmp_path / "benchmarks" / "branch.system" / "reference.json", [report])
    for folder in ("branch/system", ".venv/lib", "docs/node_modules/x"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "README.md").write_text(BLOCK)
    (tmp_path / "plain.md").write_text("No table here.\n")
    return tmp_path


def test_rewriting_is_idempotent_and_then_checks(project: Path) -> None:
    page = project / "branch" / "system" / "README.md"
    assert main([str(project)]) == 0
    once = page.read_text()
    assert "| some-set | 5x2cv | auc | **0.790** [0.760, 0.820] |" in once
    assert once.startswith("# Title\n\n<!-- results:branch.system:reference -->\n|")
    assert once.endswith("<!-- end -->\n\nAfter.\n")
    assert main([str(project)]) == 0
    assert page.read_text() == once
    assert main([str(project), "--check"]) == 0


def test_check_names_the_stale_file_and_changes_nothing(
    project: Path, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(project)])
    page = project / "branch" / "system" / "README.md"
    before = page.read_text()
    moved = report.model_copy(update={"dataset": "another-set"})
    write_json(project / "benchmarks" / "branch.system" / "reference.json", [moved])
    capsys.readouterr()
    assert main([str(project), "--check"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("branch/system/README.md: ")
    assert len(message.strip().splitlines()) == 1
    assert page.read_text() == before


def test_a_block_may_name_the_protocols_it_shows(project: Path, report: Report) -> None:
    other = report.model_copy(update={"protocol": "other"})
    write_json(project / "benchmarks" / "branch.system" / "reference.json", [report, other])
    page = project / "branch" / "system" / "README.md"
    page.write_text(BLOCK.replace(":reference ", ":reference:other "))
    main([str(project)])
    assert "| other |" in page.read_text()
    assert f"| {report.protocol} |" not in page.read_text()
    assert main([str(project), "--check"]) == 0


def test_hidden_and_foreign_folders_are_left_alone(project: Path) -> None:
    main([str(project)])
    assert (project / ".venv/lib/README.md").read_text() == BLOCK
    assert (project / "docs/node_modules/x/README.md").read_text() == BLOCK


def test_best_is_by_the_direction_of_the_metric(report: Report) -> None:
    auc, ece = [line for line in results_table([report]).splitlines() if line.startswith("| some-set")]
    assert auc.endswith("| 0.770 LDA (5x2cv) [1] | 0.500 | 0.780 forest |")
    assert "\n\n[1] Somebody 2015  \n\nMeasured on" in results_table([report])
    assert ece.endswith("| – | 0.000 | 0.040 logistic |")
    assert "ece ↓" in ece


def test_simulated_is_said_and_sources_become_links(report: Report) -> None:
    entry = Published(model="Best", metric="auc", value=0.9, protocol="holdout", source="https://example.org/p")
    table = results_table([report.model_copy(update={"simulated": True, "published": [entry]})])
    assert "| some-set (simulated) |" in table
    assert "0.900 [Best](https://example.org/p) (holdout)" in table


def test_names_cannot_break_the_table(report: Report) -> None:
    table = results_table([report.model_copy(update={"protocol": "a|b\n<!-- end -->"})])
    assert "| a\\|b &lt;!-- end --> |" in table


@pytest.mark.parametrize(
    ("text", "benchmark", "part"),
    [
        ("<!-- results:branch.other:reference -->\n<!-- end -->\n", None, "branch.other/reference.json does not exist"),
        ("<!-- results:branch.system:reference -->\n", None, "not closed"),
        (BLOCK.replace(":reference ", ":reference:none "), None, "no such protocol in the benchmark: got none"),
        (BLOCK, "[{}]", "not a list of reports"),
        (BLOCK, "[", "not a list of reports"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], text: str, benchmark: str | None, part: str
) -> None:
    (project / "branch" / "system" / "README.md").write_text(text)
    if benchmark is not None:
        (project / "benchmarks" / "branch.system" / "reference.json").write_text(benchmark)
    assert main([str(project), "--check"]) == 2
    message = capsys.readouterr().err
    assert part in message
    assert len(message.strip().splitlines()) == 1


def test_what_would_round_to_nothing_has_more_digits(report: Report) -> None:
    gap = Metric(value=0.00009, low=0.0, high=0.0004, n=58)
    table = results_table([report.model_copy(update={"metrics": {"gap": gap}, "published": []})])
    assert "| **0.00009** [0.000, 0.00040] |" in table
