"""One table, four forms: they hold the same numbers, and each survives the names users give."""

import csv
import io
import re

import pytest

from attn_jax.report import numbers
from attn_jax.report.arms import Spread, comparisons
from attn_jax.report.tables import leaderboard
from attn_jax.report.tables.export import latex, to_csv, to_latex, to_markdown
from attn_jax.report.tables.table import Column, Table, mark_best, number, over_repeats, text

EVIL = "<script>alert('x')</script> & $a_b$ 100%"


@pytest.fixture(scope="module")
def table(contents) -> Table:
    return leaderboard.leaderboard(comparisons(contents)[0], "leaderboard-wild")


def plain(entry: str) -> str:
    """An entry of any form without its markup."""
    for mark, meaning in ((r"$\pm$", "±"), ("$-$", "−"), ("---", "—"), ("**", ""), (" ★", "")):
        entry = entry.replace(mark, meaning)
    entry = re.sub(r"\\textbf\{([^}]*)\}|\\textsuperscript\{[^}]*\}|\s*\(\w\)$", r"\1", entry.strip())
    return entry.strip()


def test_all_forms_agree(table):
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    markdown = [line.split(" | ")[1:] for line in to_markdown(table).splitlines() if line.startswith("| ")][2:]
    tex = [line.removesuffix(r" \\").split(" & ")[1:] for line in to_latex(table).splitlines() if line.endswith(r"\\")][
        1:
    ]
    assert len(lines) == len(markdown) == len(tex) == len(table.rows)
    heads = [column.fields[0] for column in table.columns][1:]
    for line, row, other in zip(lines, markdown, tex, strict=True):
        other = other[-len(heads) :]
        for head, left, right in zip(heads, row, other, strict=True):
            left = plain(left.removesuffix(" |"))
            assert left == plain(right)
            if f"{head}_sd" in line and line[head]:
                sd = float(line[f"{head}_sd"])
                shown = numbers.spread(float(line[head]), sd, sign=head.startswith("delta"))
                assert left == shown
            elif f"{head}_sd" in line:
                assert left == "—"


def test_csv_has_full_precision(table):
    se = next(line for line in csv.DictReader(io.StringIO(to_csv(table))) if line["attention"] == "se")
    assert float(se["auc"]) == (0.85 + 0.91) / 2 and se["auc_n"] == "2"
    assert se["kappa"] == "" and "simulated" not in se


def test_names_survive_each_form():
    value = Table("t", EVIL, (Column(EVIL, ("a",), numeric=False),), ((text(EVIL),), (text("x|y\nz"),)), simulated=True)
    assert list(csv.reader(io.StringIO(to_csv(value)))) == [["a", "simulated"], [EVIL, "true"], ["x|y\nz", "true"]]
    markdown = to_markdown(value)
    assert r"\<script\>" in markdown and r"x\|y z" in markdown and markdown.startswith("**SIMULATED DATA. ")
    tex = to_latex(value)
    assert r"\textless{}script\textgreater{}" in tex and r"\$a\_b\$ 100\%" in tex and "SIMULATED DATA. " in tex
    bare = re.sub(r"\\[\\{}$&%#_]", "", tex)
    assert bare.count("{") == bare.count("}")


@pytest.mark.parametrize("character", list("\\&%$#_{}~^<>|"))
def test_latex_escapes_what_is_special(character):
    assert latex(character) != character and latex(f"a{character}b").startswith("a\\")


def test_best_needs_a_contest_and_marks_ties():
    rows = [[text("a"), over_repeats(Spread(0.5, 0.1, 2))], [text("b"), over_repeats(Spread(0.5, None, 1))]]
    mark_best(rows, 1, lowest=False)
    assert not any(row[1].best for row in rows)
    rows.append([text("c"), over_repeats(Spread(0.4, None, 1))])
    rows.append([text("d"), number(None, numbers.fixed, "undefined")])
    mark_best(rows, 1, lowest=False)
    assert [row[1].best for row in rows] == [True, True, False, False]


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (numbers.fixed(-0.0001), "0.000"), (numbers.fixed(-0.0126), "−0.013"), (numbers.fixed(float("nan")), "—"),
        (numbers.signed(0.0104), "+0.010"), (numbers.signed(-0.0004), "±0.000"), (numbers.signed(None), "—"),
        (numbers.spread(0.9, 0.01), "0.900 ± 0.010"), (numbers.spread(0.9, None), "0.900"),
        (numbers.count(11_689), "11\u202f689"), (numbers.parameters(11_689_512), "11.7\u00a0M"),
        (numbers.parameters(999_999), "1.00\u00a0M"), (numbers.operations(1.82), "3.64\u00a0GFLOPs"),
        (numbers.size(2**28), "256\u00a0MiB"), (numbers.time(0.084), "84.0\u00a0ms"), (numbers.time(20), "20.0\u00a0s"),
        (numbers.time(200), "3\u00a0min 20\u00a0s"), (numbers.time(7500), "2\u00a0h 05\u00a0min"),
        (numbers.plural(1, "seed"), "1 seed"), (numbers.plural(3, "seed"), "3 seeds"),
    ],
)  # fmt: skip
def test_numbers_read_well(shown, wanted):
    assert shown == wanted
