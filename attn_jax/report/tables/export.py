"""The same table as CSV (full precision), Markdown and LaTeX (booktabs)."""

import csv
import io

from attn_jax.report.numbers import DASH, MINUS
from attn_jax.report.tables.table import Table, Value

SIMULATED = "SIMULATED DATA. "
MOST_LATEX_COLUMNS = 7

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "·": r"$\cdot$",
    "★": r"$\star$",
    MINUS: "$-$",
    DASH: "---",
    "\u2013": "--",
    "\u00a0": "~",
    "\u202f": r"\,",
    "\n": " ",
    "\r": " ",
}
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\|*_`<>[]"} | {"\n": " ", "\r": " "})


def to_csv(table: Table) -> str:
    """Comma-separated, one line a row, numbers as Python writes them; simulated data have a column saying so."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    mark = ["simulated"] if table.simulated else []
    writer.writerow([field for column in table.columns for field in column.fields] + mark)
    for row in table.rows:
        writer.writerow([item for value in row for item in value.data] + ["true" for _ in mark])
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table under its caption; the best of a column is bold with a star."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def entry(value: Value) -> str:
        body = value.shown.translate(_MARKDOWN)
        body = f"**{body}** ★" if value.best else body
        return f"{body} ({table.mark(value)})" if value.reason else body

    mark = SIMULATED if table.simulated else ""
    lines = [f"**{mark}{table.caption.translate(_MARKDOWN)}**", ""]
    lines.append(line([column.label.translate(_MARKDOWN) for column in table.columns]))
    lines.append(line(["---:" if column.numeric else ":---" for column in table.columns]))
    lines += [line([entry(value) for value in row]) for row in table.rows]
    notes = [f"({table.letter(reason)}) {reason}" for reason in table.footnotes] + list(table.notes)
    return "\n".join(lines) + "".join(f"\n\n{note.translate(_MARKDOWN)}" for note in notes) + "\n"


def latex(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_latex(table: Table) -> str:
    """A `table` float with booktabs rules, scaled to the text where it is wide; the best of a column is bold."""

    def entry(value: Value) -> str:
        body = rf"\textbf{{{latex(value.shown)}}}" if value.best else latex(value.shown)
        return rf"{body}\textsuperscript{{{table.mark(value)}}}" if value.reason else body

    notes = [rf"\textsuperscript{{{table.letter(r)}}}{latex(r)}." for r in table.footnotes]
    notes += [latex(note) for note in table.notes]
    layout = "".join("r" if column.numeric else "l" for column in table.columns)
    mark = SIMULATED if table.simulated else ""
    wide = len(table.columns) > MOST_LATEX_COLUMNS
    lines = [
        "% \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{mark}{latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        " & ".join(latex(column.label) for column in table.columns) + r" \\",
        r"\midrule",
        *(" & ".join(entry(value) for value in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(["}"] if wide else []),
        *([r"\par\smallskip\footnotesize " + " ".join(notes)] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


FORMATS = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
