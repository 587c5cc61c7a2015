"""The documents: their code runs, their links lead somewhere, no name is left out."""

import doctest
import importlib
import pkgutil
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import improbable
from improbable.data.kinds import COLUMNS
from improbable.likelihoods import LIKELIHOODS
from improbable.scores import SCORES

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
links = runpy.run_path(str(ROOT / "docs" / "check_links.py"))
DOCUMENTS = links["documents"](ROOT)
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(improbable.__path__, "improbable.")
    if not m.name.endswith("__main__")
)


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks(path, language):
    """Code of the fences of one language, on the lines where it stands in the document."""
    text = path.read_text(encoding="utf-8")
    return [
        "\n" * text.count("\n", 0, found.start(3)) + found[3]
        for found in FENCE.finditer(text)
        if found[1] == language and "no-run" not in found[2]
    ]


def with_code(language):
    return [marked(path) for path in DOCUMENTS if blocks(path, language)]


def marked(path):
    """A document as a parameter; those that start a cluster run beside no other that does."""
    marks = [pytest.mark.xdist_group("ray")] if path.name == "distributed.md" else []
    return pytest.param(path, marks=marks, id=name_of(path))


def commands(path):
    lines = "\n".join(blocks(path, "console") + blocks(path, "sh")).splitlines()
    return [line.split("#")[0] for line in lines if line.startswith("improbable ")]


@pytest.fixture
def tables():
    """What documents register stays in them."""
    kept = [(table, dict(table)) for table in (SCORES, LIKELIHOODS, COLUMNS)]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("path", with_code("python"))
def test_python_of_a_document_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = type(sys)("document")
    monkeypatch.setitem(sys.modules, "document", module)
    for block in blocks(path, "python"):
        exec(compile(block, str(path), "exec"), module.__dict__)


def write_tables(folder):
    patients, is_sick = improbable.load_thyroid()
    labeled = patients.append_column("is_sick", pa.array(is_sick))
    pa.csv.write_csv(patients.filter(is_sick == 0), folder / "normal.csv")
    pa.csv.write_csv(patients.filter(is_sick == 1), folder / "new.csv")
    pa.csv.write_csv(labeled.slice(0, 500), folder / "labeled.csv")


def run_command(line, monkeypatch):
    from improbable.cli import main

    monkeypatch.setattr(sys, "argv", shlex.split(line))
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    assert not status, line


@pytest.mark.parametrize("path", [marked(p) for p in DOCUMENTS if commands(p)])
def test_commands_of_a_document_run(path, tmp_path, monkeypatch):
    if not hasattr(importlib.import_module("improbable.cli"), "main"):
        pytest.skip("the command line is not there yet")
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)
    for line in commands(path):
        run_command(line, monkeypatch)
    named = re.findall(r"-o (\S+)", "\n".join(commands(path)))
    assert named
    assert all((tmp_path / name).is_file() for name in named)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"np": np}, optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


def test_there_are_docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        e
        for name in MODULES
        for t in finder.find(importlib.import_module(name))
        for e in t.examples
    ]
    assert len(examples) >= 5


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path):
    assert links["broken_links"](path) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n[1](#a-b-c) [2](#d) [3](gone.md) [4](page.md#d) `[5](code.md)`\n")
    assert links["broken_links"](page) == ["#d", "gone.md", "page.md#d"]


@pytest.mark.parametrize(
    "table", [SCORES, LIKELIHOODS, COLUMNS], ids=["score", "likelihood", "kind"]
)
def test_every_name_is_documented(table):
    pages = (ROOT / "docs").glob("*.md")
    named = set(re.findall(r"`(\w+)`", "\n".join(p.read_text(encoding="utf-8") for p in pages)))
    assert set(table) <= named


def test_every_score_has_its_row_of_definitions():
    page = (ROOT / "docs" / "which-reconstruction-probability.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(SCORES)


def test_readme_has_a_place_for_the_benchmark():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start, end = (lines.index(f"<!-- benchmark:{mark} -->") for mark in ("start", "end"))
    assert start < end


def test_the_demo_runs(capsys):
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "age = 455" in shown
    assert "differ by 0e+00" in shown
