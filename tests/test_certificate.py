"""The certificate's page is what its numbers give, complete, and not older than the mechanisms."""

import pathlib
import runpy
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def certificate():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield runpy.run_path(str(BENCHMARKS / "certificate.py"))


def test_the_page_is_the_numbers_and_has_every_mechanism(certificate):
    cells = certificate["load"]()
    assert certificate["PAGE"].read_text() == certificate["page"](cells)
    assert {name for name in cells if "static" in cells[name]} == set(certificate["NAMES"])


def test_what_is_told_of_a_mechanism_is_not_older_than_its_file(certificate):
    cells = certificate["load"]()
    digest = certificate["digest"]
    stale = [name for name in certificate["NAMES"] if cells[name]["static"]["digest"] != digest(name, "static")]
    assert not stale, f"run: python benchmarks/certificate.py --columns static --only {' '.join(stale)}"


def test_a_row_without_measurements_and_one_of_another_version(certificate):
    row, cells = certificate["row"], certificate["load"]()
    static = cells["se"]["static"]
    timing = {"digest": "other", "measured": {"forward ratio": 1.0, "train ratio": 1.5, "memory ratio": 2.0}}
    columns = dict(zip(certificate["COLUMNS"], row("se", {"se": {"static": static, "timing": timing}}), strict=True))
    assert (columns["forward"], columns["train"], columns["TPU bytes"]) == ("1.00 *", "1.50 *", "–")
    tpu = {
        name: {"tpu": {"digest": certificate["digest"](name, "tpu"), "measured": {"bytes": size}}}
        for name, size in (("none", 4), ("se", 5))
    }
    merged = {"none": tpu["none"], "se": {"static": static, **tpu["se"]}}
    columns = dict(zip(certificate["COLUMNS"], row("se", merged), strict=True))
    assert (columns["forward"], columns["TPU bytes"]) == ("–", "1.25")
