"""BEATs, EAT and M2D: what the authors' code gives, padding, files that are none."""

import pytest
import torch
from safetensors.torch import save_file

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from tests.teachers import foreign
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

BANDS, CLOSE = 8, {"atol": 5e-4, "rtol": 1e-3}
M2D = "m2d_vit_base-80x64p16x16-x/w.pth"
SOURCES = {"beats": "beats", "beats-pre-norm": "beats", "eat": "eat", "m2d": "m2d"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Name of each encoder, whose file is as its authors write it."""
    folder = tmp_path_factory.mktemp("patches")
    made = {}
    for name, kind in SOURCES.items():
        path = folder / (M2D if name == "m2d" else f"{name}.pt")
        path.parent.mkdir(exist_ok=True)
        dump = foreign.dump(name)
        if name == "m2d":
            dump["model"]["norm_stats"] = torch.tensor(dump["cfg"]["norm_stats"])
        torch.save(dump, path)
        made[name] = f"{kind}:{path}"
    return made


def _encoded(source, num_samples=18000):
    return load_encoder(source)(foreign.LONGER[:, :num_samples], torch.tensor([num_samples]))


@pytest.mark.parametrize("name", ["beats", "beats-pre-norm"])
def test_beats_gives_what_its_authors_code_gives(sources, name):
    for mark, golden in (("", "final"), ("#1", "layer.1")):
        patches = foreign.output(f"{name}.{golden}")
        frames = _encoded(sources[name] + mark)
        assert frames.lengths.tolist() == [patches.shape[1] // BANDS]
        expected = patches.unflatten(1, (-1, BANDS)).mean(dim=2)
        torch.testing.assert_close(frames.vectors, expected, **CLOSE)
    torch.testing.assert_close(
        _encoded(sources[name]).clip, foreign.output(f"{name}.final").mean(dim=1), **CLOSE
    )


def test_eat_gives_what_its_authors_blocks_give(sources, tmp_path):
    for layer in (1, 2):
        frames, golden = _encoded(f"{sources['eat']}#{layer}"), foreign.output(f"eat.layer.{layer}")
        expected = golden[:, 1:].unflatten(1, (-1, BANDS)).mean(dim=2)
        torch.testing.assert_close(frames.vectors, expected, **CLOSE)
        torch.testing.assert_close(frames.clip, golden[:, 0], **CLOSE)
    there = {"modality_encoders.IMAGE.": "", "context_encoder.norm": "pre_norm"}
    state = {}
    for name, value in foreign.dump("eat")["model"].items():
        for old, new in there.items():
            name = name.replace(old, new)
        state[f"model.{name}"] = value
    save_file(state, tmp_path / "model.safetensors")
    torch.testing.assert_close(_encoded(f"eat:{tmp_path}").vectors, frames.vectors)
    with pytest.raises(UserError, match=r"positions for 3.2 s, and was given 3.84 s at once"):
        load_encoder(sources["eat"])(torch.zeros(1, 64000), torch.tensor([64000]))


def test_m2d_gives_what_its_authors_runtime_gives(sources):
    # 113 frames are more than a chunk of 64; 44 are less than one, and no whole number of patches.
    for num_samples, golden in ((18000, "m2d.final"), (7000, "m2d.short")):
        frames = _encoded(sources["m2d"], num_samples)
        expected = foreign.output(golden)
        assert frames.lengths.tolist() == [expected.shape[1]]
        torch.testing.assert_close(frames.vectors, expected, **CLOSE)


@pytest.mark.parametrize("name", SOURCES)
def test_padding_does_not_matter(sources, name):
    teacher = load_encoder(sources[name])
    check_padding_does_not_matter(teacher)
    check_short_rows_have_no_frames(teacher, too_short=150 if name == "m2d" else 2700)


@pytest.mark.parametrize("kind", ["beats", "eat", "m2d", "dasheng"])
def test_a_file_of_something_else_is_refused(kind, tmp_path):
    for content in ({"cfg": {}, "model": {"weight": torch.zeros(3)}}, [1], {"model": {}}):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(UserError, match=r"other.pt: no "):
            load_encoder(f"{kind}:{tmp_path / 'other.pt'}")
    with pytest.raises(UserError, match=r"none.pt: no such file"):
        load_encoder(f"{kind}:none.pt")
