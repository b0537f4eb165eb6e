"""The page in a real browser: its script runs under its own policy, and a phone needs no sideways scrolling."""

import html
import pathlib
import re
import shutil
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=5000 --dump-dom"
).split()
PROBE = """
frame.onload = () => {
  const page = frame.contentDocument;
  const head = page.querySelector("#table-leaderboard-wild thead th:nth-child(3) button");
  head.click();
  const first = () => page.querySelector("#table-leaderboard-wild tbody th").textContent;
  const descending = first();
  head.click();
  out.textContent = [page.documentElement.scrollWidth, page.documentElement.clientWidth, descending, first()].join("|");
};
"""


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_page_in_a_browser(folder: pathlib.Path, tmp_path: pathlib.Path, width: int):
    source = html.escape((folder / "report.html").read_text())
    frame = f'<iframe id="frame" style="width:{width}px;height:800px;border:0" srcdoc="{source}"></iframe>'
    outer = tmp_path / "outer.html"
    outer.write_text(f'<!doctype html><meta charset="utf-8">{frame}<pre id="out"></pre><script>{PROBE}</script>')
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", outer.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="out">([^<]*)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    needs, has, best, worst = html.unescape(found[1]).split("|")
    assert int(needs) == int(has) == width
    assert best.startswith("SE") and worst != best, "headings sort, best first"
