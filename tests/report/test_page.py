"""The page as its readers get it: complete, offline, marked, escaped, and true to the numbers."""

import dataclasses
import json
import re
import shutil
import statistics

import numpy as np
import pytest

from attn_jax import report

EVIL = "<script>alert('x')</script> & $a_b$ 100%"


def rows(page, table: str) -> dict[str, list[str]]:
    """A table's body by row heading, and its column headings under the empty key."""
    found = next(t for t in page.all("table") if t.attrs.get("id") == f"table-{table}")
    lines = [[" ".join(e.text.split()) for e in row.inside] for row in found.all("tr")]
    return {"": lines[0]} | {line[0]: line for line in lines[1:]}


def test_nothing_is_loaded_from_elsewhere(page, folder):
    text = (folder / "report.html").read_text()
    policy = next(
        m.attrs["content"] for m in page.all("meta") if m.attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe-eval" not in policy
    assert not re.search(r"https?://", text)
    assert not page.all("link", "iframe", "object", "embed")
    assert len(page.all("script")) == 1 and "src" not in page.all("script")[0].attrs
    assert not re.search(r"@import|url\((?!#)", text)
    assert all(e.attrs["src"].startswith("data:image/jpeg;base64,") for e in page.all("img"))
    for link in page.all("a"):
        target = link.attrs["href"]
        assert target.startswith("#") or (folder / target).is_file(), target


def test_structure_serves_screen_readers(page):
    assert page.all("html")[0].attrs["lang"] == "en"
    assert len(page.all("main")) == len(page.all("h1")) == 1
    assert page.all("body")[0].inside[0].attrs["href"] == "#main"
    ids = [e.attrs["id"] for e in page.all() if "id" in e.attrs]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert not link.attrs["href"].startswith("#") or link.attrs["href"][1:] in ids, link.attrs
    levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    for table in page.all("table"):
        assert table.inside[0].tag == "caption" and table.inside[0].text.strip()
        assert all(e.attrs.get("scope") in ("col", "row") for e in table.all("th"))
    assert all(e.attrs["alt"].strip() for e in page.all("img"))
    assert all(e.attrs["role"] == "img" and e.attrs["aria-label"] for e in page.all("svg"))
    for region in (e for e in page.all() if "tabindex" in e.attrs and e.tag != "main"):
        assert "aria-labelledby" in region.attrs or "aria-label" in region.attrs


def test_numbers_are_those_of_the_results(page):
    table = rows(page, "leaderboard-wild")
    for line, attention, values in (("SE", "se", (0.85, 0.91)), ("none (baseline)", "none", (0.80, 0.84))):
        shown = dict(zip(table[""], table[line], strict=True))
        mean, sd = statistics.mean(values), statistics.stdev(values)
        assert shown["AUC"].replace("★ (best)", "") == f"{mean:.3f} ± {sd:.3f}", attention
        assert shown["Seeds"] == "2"
    deltas = np.array([0.85 - 0.80, 0.91 - 0.84])
    shown = dict(zip(table[""], table["SE"], strict=True))
    assert shown["Δ AUC"] == f"+{deltas.mean():.3f} ± {deltas.std(ddof=1):.3f}"
    assert list(table)[1] == "SE", "the best mean comes first"


def test_undefined_is_a_dash_with_its_reason(page):
    table = next(t for t in page.all("table") if t.attrs.get("id") == "table-leaderboard-wild")
    at = [e.text.strip() for e in table.all("tr")[0].inside].index("Kappa")
    for row in table.all("tr")[1:]:
        value = row.inside[at]
        assert value.text.strip().startswith("—")
        assert value.all("span")[0].attrs["title"] == "no chance agreement"
    assert any("no chance agreement" in e.text for e in page.all("div") if e.attrs.get("class") == "notes")


def test_best_is_marked_by_more_than_colour(page):
    table = next(t for t in page.all("table") if t.attrs.get("id") == "table-leaderboard-wild")
    best = [e for e in table.all("td") if "best" in e.attrs.get("class", "")]
    assert best and all("★" in e.text and "(best)" in e.text and e.all("b") for e in best)


def test_simulated_data_are_marked_everywhere(page, folder):
    body = page.all("body")[0]
    assert body.inside[1].tag == "aside" and body.inside[1].text.startswith("Simulated data. phantom")
    for table in page.all("table"):
        name = table.attrs.get("id", "")
        if "phantom" in table.text or "phantom" in name:
            assert "Simulated data" in table.inside[0].text, name
    assert (
        "Simulated data" not in next(t for t in page.all("table") if t.attrs.get("id") == "table-leaderboard-wild").text
    )
    drawn = [e for e in page.all("svg") if "phantom" in e.all("g")[0].attrs["id"]]
    assert drawn and all("SIMULATED" in e.text for e in drawn)
    for path in folder.glob("figures/*.svg"):
        of_both = path.name == "expected.svg"  # over both data sets
        assert ("SIMULATED" in path.read_text()) == ("phantom" in path.name or of_both), path.name
    for path in [*folder.glob("tables/*"), *folder.glob("figures/*.csv")]:
        if "phantom" in path.name:
            assert "simulated" in path.read_text().lower(), path.name
    pictures = [e for e in page.all("img") if e.attrs["alt"].startswith("Simulated")]
    assert len(pictures) == 6 == len(page.all("img")) // 2


def test_names_from_users_stay_text(page, folder):
    text = (folder / "report.html").read_text()
    assert "<script>alert" not in text and text.count("<script>") == 1
    assert EVIL in page.all("h1")[0].text
    assert any(EVIL in e.attrs["alt"] for e in page.all("img"))
    assert EVIL in next(t.text for t in page.all("table") if t.attrs.get("id") == "table-failed-cells")
    assert EVIL in rows(page, "skipped-wild")[f"{EVIL}.png"][0]


@pytest.fixture(scope="module")
def bare(contents, tmp_path_factory):
    """The report without pictures."""
    return report.write(contents, tmp_path_factory.mktemp("bare"), pictures=False).parent


def test_without_pictures_there_is_no_pixel(bare):
    text = (bare / "report.html").read_text()
    assert "data:image" not in text and "<img" not in text and "<image" not in text
    assert not re.search(r"base64|[A-Za-z0-9+/]{200}", text)
    assert "Pictures were left out" in text
    assert json.loads((bare / "index.json").read_text())["pictures"] is False
    for path in bare.rglob("*.svg"):
        assert "<image" not in path.read_text()


def test_files_are_the_same_each_time(bare, folder):
    names = json.loads((folder / "index.json").read_text())["files"]
    assert names == json.loads((bare / "index.json").read_text())["files"]
    for name in set(names) - {"report.html"}:
        assert (bare / name).read_bytes() == (folder / name).read_bytes(), name


def test_index_lists_all_and_an_earlier_report_leaves_nothing(contents, bare, tmp_path):
    folder = shutil.copytree(bare, tmp_path / "report")

    def listed() -> set[str]:
        return set(json.loads((folder / "index.json").read_text())["files"])

    def there() -> set[str]:
        return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"index.json", "mine.txt"}

    (folder / "mine.txt").write_text("kept")
    assert listed() == there() and "figures/roc-wild.svg" in there()
    page = report.write(dataclasses.replace(contents, results={}), folder, pictures=False).read_text()
    assert listed() == there() and "figures/roc-wild.svg" not in there()
    assert "No cell has finished yet" in page and (folder / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("word", ["significant", "significantly", "outperforms", "superior", "proves"])
def test_words_the_data_cannot_carry_do_not_appear(page, word):
    assert not re.search(rf"\b{word}\b", page.all("main")[0].text, re.I)
    assert "Not for clinical use" in page.all("footer")[0].text
