"""Text as spreadsheets and instruments write it: other encodings, remarks above the names."""

import codecs
import gzip
import io
import warnings

import pytest

from improbable.data.encodings import BLOCK
from improbable.data.files import read_batches, read_table
from improbable.errors import DataError, DataWarning

TEXT = 'Probe;Prüfer;Größe\nS1;"Müller; Jörg";1,5\nS2;Ångström;2,25\n'
ROWS = [
    {"Probe": "S1", "Prüfer": "Müller; Jörg", "Größe": 1.5},
    {"Probe": "S2", "Prüfer": "Ångström", "Größe": 2.25},
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_unicode_says_what_it_is(encoding, name, tmp_path):
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    data = mark + TEXT.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if "gz" in name else data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_table(tmp_path / name).to_pylist() == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "-"])
def test_what_is_not_unicode_anywhere_is_read_with_a_warning(name, tmp_path, monkeypatch):
    data = TEXT.encode("cp1252")
    path = name if name == "-" else tmp_path / name
    if name == "-":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    else:
        path.write_bytes(gzip.compress(data, mtime=0) if "gz" in name else data)
    called = "standard input" if name == "-" else name
    with pytest.warns(
        DataWarning, match=f"{called} is not UTF-8 text and is read as Windows-1252"
    ):
        assert read_table(path).to_pylist() == ROWS


def test_the_first_odd_byte_may_come_late(tmp_path):
    lines = b"a,b\n" + b"1,abcdefgh\n" * (2 * BLOCK // 11)
    (tmp_path / "a.csv").write_bytes(lines + b"2,\xe4\n")
    with pytest.warns(DataWarning, match="Windows-1252"):
        reader = read_batches(tmp_path / "a.csv", text=True)
    *_, last = reader.batches()
    assert last["b"].to_pylist()[-1] == "ä"
    (tmp_path / "a.csv").write_bytes(lines[: BLOCK - 1] + b"\xc3\xa4" + b"\n" + lines[BLOCK + 2 :])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert b"\xc3\xa4" in (tmp_path / "a.csv").read_bytes()[BLOCK - 1 : BLOCK + 1]
        rows = read_table(tmp_path / "a.csv")
    assert any("ä" in str(cell) for cell in rows[1].to_pylist())


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,\xc3\xa9\n2,\xe9\n",  # UTF-8, and broken
        b"a,b\n1,\xe9\n2,\x81\n",  # no letter of Windows-1252
        b"a,b\n1,\xe9\n2,\x00\n",
    ],
)
def test_what_is_partly_unicode_or_no_text_is_refused(data, tmp_path):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(DataError, match="UTF-8"):
        read_table(tmp_path / "a.csv")


def test_several_files_in_their_own_encodings(tmp_path):
    for name, encoding in (("1.csv", "cp1252"), ("2.csv", "utf-16"), ("3.csv", "utf-8-sig")):
        (tmp_path / name).write_bytes(TEXT.encode(encoding))
    (tmp_path / "4.csv").write_text("# made by hand\n" + TEXT)
    with pytest.warns(DataWarning, match=r"1\.csv is not UTF-8"):
        assert read_table(tmp_path / "*.csv").to_pylist() == ROWS * 4


def test_lines_of_json(tmp_path):
    (tmp_path / "a.jsonl").write_bytes('{"a": "ö"}\n{"a": "€"}\n'.encode("utf-16"))
    assert read_table(tmp_path / "a.jsonl").to_pylist() == [{"a": "ö"}, {"a": "€"}]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("# by an instrument\n# on a day, at noon\nid,x\n1,2\n", ["id", "x"]),
        ("\n# by an instrument\n\nid;x;y\n1;2;3\n", ["id", "x", "y"]),
        ("\ufeff# by an instrument\nid\tx\n1\t2\n", ["id", "x"]),
        ("#id,x\n1,2\n", ["#id", "x"]),
        ("# by an instrument\n#id,x\n1,2\n", ["#id", "x"]),
        ("#id\n1\n", ["#id"]),
        ("#id,x\nbob,red\n", ["#id", "x"]),
        ("# id,x\n1,red\n", ["# id", "x"]),
        ("# by me\nid\n1\n", ["id"]),
        ("# by me, here\n,x\n0,1\n", ["", "x"]),
        ("id,x\n#1,2\n", ["id", "x"]),
        ("# nothing else\n", ["# nothing else"]),
    ],
)
@pytest.mark.parametrize("text", [True, False])
def test_remarks_above_the_names(content, names, text, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    reader = read_batches(tmp_path / "a.csv", text=text)
    rows = sum(batch.num_rows for batch in reader.batches())
    assert reader.schema.names == names
    assert rows == (0 if "nothing" in content else 1)
