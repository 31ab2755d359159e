import sys

import huggingface_hub
import pytest

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from tests.teachers import tiny


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(tmp_path, monkeypatch, empty_cache):
    """A hub with one model, and the list of what was asked of it."""
    folder = tiny.save(tiny.networks()["hubert-base"], tmp_path / "snapshot")
    asked = []

    def snapshot_download(model, revision, allow_patterns, local_files_only):
        asked.append((model, revision, local_files_only))
        assert not any(pattern.endswith(".py") for pattern in allow_patterns)
        if model != "org/name":
            raise OSError("404\nnot found")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_name_with_a_revision_is_fetched_and_a_bare_one_is_only_looked_up(hub):
    assert load_encoder("hf:org/name@abc123?normalize=true#2").dim == 32
    assert load_encoder("hf:org/name").dim == 32
    assert hub == [("org/name", "abc123", False), ("org/name", None, True)]


def test_a_folder_of_that_name_is_the_folder(hub, tmp_path):
    tiny.save(tiny.networks()["hubert-base"], tmp_path / "org/other")
    assert load_encoder("hf:org/other").dim == 32
    assert not hub


def test_says_what_to_run_where_nothing_can_be_fetched(hub):
    with pytest.raises(
        UserError, match=r"hf:org/else@v1#3: not in.*OSError: 404.*hf download"
    ) as hit:
        load_encoder("hf:org/else@v1#3")
    assert "\n" not in str(hit.value)
    assert "--revision v1" in str(hit.value)


@pytest.mark.parametrize("kind", ["hf", "spear"])
def test_a_bare_name_that_is_not_in_the_cache_says_how_to_ask(kind, empty_cache):
    with pytest.raises(UserError, match=rf"no such path here.*as in {kind}:org/name@main#1, or"):
        load_encoder(f"{kind}:org/name#1")


def test_says_which_extra_is_missing(monkeypatch, empty_cache):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"spear:org/name@x: no such path here; .*extra 'hub'"):
        load_encoder("spear:org/name@x")
