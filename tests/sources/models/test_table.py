"""models.csv: what it says, and a clear error for every defect."""

from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.models.table import Known, read_table

FILES = ("chairs/SM_Chair_01.fbx", "lamp.glb", "mug.glb", "mug.obj")


def read(folder: Path, text: str | bytes) -> dict[str, Known]:
    (folder / "models.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(folder / "models.csv", FILES)


def test_no_table(tmp_path: Path):
    assert read_table(tmp_path / "models.csv", FILES) == {}


def test_all_columns(tmp_path: Path):
    found = read(
        tmp_path,
        "file,name,category,license,creator,size_m,front_deg\n"
        'chairs/SM_Chair_01.fbx,"Chair, old",Chair,CC BY 4.0,Jo Doe,0.5 x 0.5 x 0.9,270\n'
        "\n"
        "lamp,,,,,0.4,\n",
    )
    chair = Known("Chair, old", "chair", "CC BY 4.0", "Jo Doe", (0.5, 0.5, 0.9), 270.0)
    assert found == {"chairs/SM_Chair_01.fbx": chair, "lamp.glb": Known(size_m=(0.4,))}


def test_as_spreadsheets_write_it(tmp_path: Path):
    text = "File;Size_m;name\r\n.\\chairs\\SM_Chair_01.fbx;0,9;Stuhl, alt\r\n"
    for written in (text, text.replace(";", "\t")):
        found = read(tmp_path, b"\xef\xbb\xbf" + written.encode())
        assert found == {"chairs/SM_Chair_01.fbx": Known(name="Stuhl, alt", size_m=(0.9,))}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,license\nlamp.glb,by\n", r"models\.csv:1: no header 'file'.*allowed: file, name"),
        ("file,licence\nlamp.glb,by\n", r"models\.csv:1: unknown header 'licence'; did you mean 'license'\?"),
        ("file,name,name\nlamp.glb,a,b\n", r"models\.csv:1: header 'name' occurs twice"),
        ("file|name\nlamp.glb|a\n", r"models\.csv:1: unknown header"),
        ("", r"models\.csv:1: no header 'file'"),
        (
            "file,name\nlamp.glb,a\nlmp.glb,b\n",
            r"models\.csv:3: there is no model 'lmp\.glb'; did you mean 'lamp\.glb'",
        ),
        ("file,name\nnothing/like/it.glb,b\n", r"models\.csv:2: there is no model .*relative to the folder"),
        ("file,name\n,b\n", r"models\.csv:2: no file is named"),
        ("file\nlamp.glb\n\nlamp\n", r"models\.csv:4: lamp\.glb has a row already, in line 2"),
        ("file\nmug\n", r"models\.csv:2: 'mug' may be mug\.glb or mug\.obj"),
        ("file,size_m\nlamp.glb,big\n", r"models\.csv:2: size_m 'big' is not a number"),
        ("file,size_m\nlamp.glb,0\n", r"models\.csv:2: size_m '0': give the largest side in meters"),
        ("file,size_m\nlamp.glb,1 x 2\n", r"models\.csv:2: size_m '1 x 2': give"),
        ("file,front_deg\nlamp.glb,inf\n", r"models\.csv:2: front_deg 'inf' is not a number"),
        ("file,size_m\nlamp.glb,0,9\n", r"models\.csv:2: 3 cells for 2 headers: quote a cell"),
        (b"file,name\nlamp.glb,St\xfchle\n", r"models\.csv:2: not UTF-8; save it as `CSV UTF-8`"),
        ("file,name\n".encode("utf-16"), r"models\.csv:1: not UTF-8"),
        (f"file,name\nlamp.glb,{'a' * 300}\n", r"models\.csv:2: name has 300 characters"),
    ],
)
def test_defects(tmp_path: Path, text: str | bytes, words: str):
    with pytest.raises(BadInput, match=words):
        read(tmp_path, text)
