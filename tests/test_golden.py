"""Every study in miniature gives the numbers that it gave before, or the numerics version says that they moved."""

import json
import re
from pathlib import Path

import golden
import pytest

from bss2lab.studies.catalogue import STUDIES
from bss2lab.studies.results import load, numerics_of, to_record
from bss2lab.version import NUMERICS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "data" / "results"
KEPT = json.loads(golden.FILE.read_text(encoding="utf-8"))
pytestmark = [pytest.mark.usefixtures("fashion_standin"), pytest.mark.slow]
ADVICE = "numbers moved: raise NUMERICS, say why in the changelog, and run `python tests/golden.py`"


def test_every_study_has_its_slice():
    elsewhere = {"fig5-shd"}  # its files do not come with the repository; it is figure 5 on other words
    assert set(golden.SLICES) == set(STUDIES) - elsewhere == set(KEPT["slices"])


def test_the_slices_were_made_with_this_numerics_version_and_the_changelog_knows_it():
    assert KEPT["numerics"] == NUMERICS, "run `python tests/golden.py`"
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = text.index("### Numerics")
    versions = re.findall(r"^- Version (\d+)", text[heading:], flags=re.MULTILINE)
    assert str(NUMERICS) in versions


@pytest.mark.parametrize("name", golden.SLICES)
def test_gives_the_numbers_that_it_gave_before(name, studies_store, fashion_standin):
    before = KEPT["slices"][name]
    assert before["asked"] == golden.asked(name, fashion_standin), f"run `python tests/golden.py {name}`"
    result = golden.compute(name, studies_store)
    found, kept = golden.numbers(name, result), before["numbers"]
    assert set(found) == set(kept), ADVICE
    same_machine = to_record(name, result)["machine"]["processor"] == before["processor"]
    # Another processor sums in another order: decisions near a tie and weights near a rounding edge differ.
    near = {"rel": 1e-6, "abs": 1e-9} if same_machine else {"rel": 0.05, "abs": 0.03}
    moved = {
        place: (kept[place], value) for place, value in found.items() if value != pytest.approx(kept[place], **near)
    }
    assert not moved, f"{ADVICE}\n{moved}"


def test_a_moved_number_is_noticed(monkeypatch):
    """The surrogate's slope changed by a hundredth moves the losses."""
    before = golden.numbers("fig3b", golden.compute("fig3b", None))
    changed = golden.TRAINING.replace(train=golden.ITL.replace(beta=1.01 * golden.ITL.beta))
    monkeypatch.setitem(golden.SLICES, "fig3b", changed)
    after = golden.numbers("fig3b", golden.compute("fig3b", None))
    losses = [place for place in before if place.endswith("/loss")]
    assert losses
    assert any(after[place] != pytest.approx(before[place], rel=1e-6, abs=1e-9) for place in losses)


@pytest.mark.parametrize("name", [name for name in STUDIES if (RESULTS / f"{name}.json").exists()])
def test_full_scale_results_are_results_of_their_study_at_full_scale(name):
    path = RESULTS / f"{name}.json"
    result = load(path, path.stem, STUDIES[path.stem].result)
    assert result.config == STUDIES[path.stem].full, "computed with another configuration: compute it again"
    assert numerics_of(path) <= NUMERICS
    record = json.loads(path.read_text(encoding="utf-8"))
    assert {"date", "machine", "versions"} <= set(record)
