from audiossl import installation
from audiossl.cli import doctor
from audiossl.installation import install_line, missing_package, strangers


def write_distribution(site, entry_point):
    folder = site / "audiossl-1.3.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: audiossl\nVersion: 1.3\n"
        "Requires-Dist: numpy\nRequires-Dist: ray[data]>=2.40; extra == 'ray'\n"
    )
    if entry_point:
        (folder / "entry_points.txt").write_text(f"[console_scripts]\naudiossl = {entry_point}\n")


def test_a_checkout_is_named_and_the_public_name_never():
    line = missing_package("engine ray", "ray", "ray")
    assert line.startswith("engine ray: needs ray, of the extra 'ray': in /")
    assert line.endswith("python -m pip install -e '.[ray]'")
    assert "audiossl[" not in line


def test_without_a_checkout_the_packages_are_named(tmp_path, monkeypatch):
    write_distribution(tmp_path, installation.COMMAND)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "audiossl" / "installation.py"))
    assert install_line("ray") == "python -m pip install 'ray[data]>=2.40'"


def test_the_other_library_of_the_name_is_noticed(tmp_path, monkeypatch):
    assert strangers() == []
    write_distribution(tmp_path, "")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert strangers() == ["audiossl 1.3"]
    first = next(doctor.examine())
    assert first.works is False
    assert "another library" in first.details
    assert first.cure.startswith("pip uninstall audiossl, then in /")
