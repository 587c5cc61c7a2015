"""The sizes, names and imports this project promises itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import improbable

SOURCES = sorted(Path(improbable.__file__).parent.rglob("*.py"))
FORBIDDEN = ("Manager", "Helper", "get_", "compute_")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False)
            size = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            assert size <= 40, f"{node.name} has {size} lines"
            assert not node.name.startswith(FORBIDDEN)
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(FORBIDDEN)


def test_no_pickle_and_no_global_seed():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        for word in (
            "import pickle",
            "torch.load",
            "joblib",
            "torch.manual_seed",
            "np.random.seed",
        ):
            assert word not in text, f"{word} in {path.name}"


def test_public_names():
    assert sorted(improbable.__all__) == list(improbable.__all__)
    for name in improbable.__all__:
        assert getattr(improbable, name) is not None
    assert dir(improbable) == list(improbable.__all__)
    with pytest.raises(AttributeError, match="Detector"):
        _ = improbable.Detector


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, improbable; print(sorted({'torch', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
