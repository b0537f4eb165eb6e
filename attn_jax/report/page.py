"""From contents to a folder: `report.html`, which needs nothing beside it, and every table and figure as files."""

import base64
import hashlib
import importlib.resources
import json
import pathlib

import jinja2
from markupsafe import Markup

import attn_jax
from attn_jax.evaluation import as_json
from attn_jax.report import files, summary
from attn_jax.report.arms import Comparison, comparisons
from attn_jax.report.blocks import Block, Section
from attn_jax.report.contents import Contents
from attn_jax.report.evidence import Evidence, gather
from attn_jax.report.sections import build, figures_in, tables_in
from attn_jax.report.tables import leaderboard
from attn_jax.report.tables.export import FORMATS

PAGE = "report.html"
EVIDENCE = "evidence.json"


def write(contents: Contents, folder: pathlib.Path, *, pictures: bool = True) -> pathlib.Path:
    """Writes the page, `tables/`, `figures/`, `evidence.json` (all statistics at full precision) and `index.json`,
    which lists them.

    Files of an earlier report in the folder that this one does not have are removed. Each file is written whole or not
    at all, the page last but for the index.

    Args:
        contents: what the page shows.
        folder: where it goes; made where it does not exist.
        pictures: whether pictures of patients (the gallery) are on the page; the files hold none in any case.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: the folder cannot be written to; before any work.
    """
    files.check(folder)
    compared = comparisons(contents)
    evidence = gather(contents, compared)
    overview = _overview(compared)
    sections = build(contents, compared, evidence, pictures=pictures)
    outputs: dict[str, str | bytes] = {}
    for table in [*tables_in(sections), *(block.value for block in overview)]:
        outputs |= {f"tables/{table.name}.{ending}": form(table) for ending, form in FORMATS.items()}
    for figure in figures_in(sections):
        outputs[f"figures/{figure.name}.svg"] = figure.svg
        outputs[f"figures/{figure.name}.png"] = figure.png
        outputs[f"figures/{figure.name}.csv"] = figure.data.to_csv(index=False, lineterminator="\n")
    found = [judged.found for judged in evidence.of.values()]
    outputs[EVIDENCE] = as_json.dump(found, evidence.settings, evidence.across)
    outputs[PAGE] = render(contents, compared, evidence, overview, sections, pictures=pictures)
    files.forget(folder, set(outputs))
    for name, content in outputs.items():
        files.write(folder / name, content)
    index = {"title": contents.title, "attn_jax": attn_jax.__version__, "pictures": pictures, "files": sorted(outputs)}
    files.write(folder / files.INDEX, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    return folder / PAGE


def _overview(compared: list[Comparison]) -> tuple[Block, ...]:
    own = [comparison for comparison in compared if not comparison.tested_on]
    return (Block("table", leaderboard.overview(own, "overview")),) if len(own) > 1 else ()


def render(
    contents: Contents,
    compared: list[Comparison],
    evidence: Evidence,
    overview: tuple[Block, ...],
    sections: list[Section],
    *,
    pictures: bool,
) -> str:
    """The page as one string of HTML."""
    templates = importlib.resources.files("attn_jax.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (templates / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (templates / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        contents=contents,
        overall=summary.overall(contents),
        findings=[summary.finding(comparison, evidence.find(comparison)) for comparison in compared],
        alternatives=summary.alternatives(compared),
        overview=overview,
        sections=sections,
        pictures=pictures,
        simulated=[name for name, data in contents.datasets.items() if data.simulated],
        version=attn_jax.__version__,
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        digest=digest,
    )
