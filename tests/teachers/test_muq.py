import json

import pytest
import torch
from safetensors.torch import save_file

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from tests.teachers import foreign
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames


@pytest.fixture
def folder(tmp_path):
    dump = foreign.dump("muq")
    state = {f"model.{name}": value for name, value in dump["model"].items()}
    counters = [name.replace("running_var", "num_batches_tracked") for name in state]
    state |= {name: torch.tensor(0) for name in counters if name.endswith("tracked")}
    save_file({**state, "model.linear.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(dump["cfg"]))
    return tmp_path


def test_gives_what_its_authors_code_gives(folder):
    expected = foreign.output("muq.final")
    frames = load_encoder(f"muq:{folder}")(foreign.LONGER, torch.tensor([18000]))
    assert (frames.frame_rate, frames.lengths.tolist()) == (25.0, [expected.shape[1]])
    torch.testing.assert_close(frames.vectors, expected, atol=5e-4, rtol=1e-3)
    first = load_encoder(f"muq:{folder}#1")(foreign.LONGER, torch.tensor([18000]))
    torch.testing.assert_close(first.vectors, foreign.output("muq.layer.1"), atol=5e-4, rtol=1e-3)


def test_padding_does_not_matter(folder):
    encoder = load_encoder(f"muq:{folder}")
    check_padding_does_not_matter(encoder)
    check_short_rows_have_no_frames(encoder, too_short=1000)


def test_says_what_is_wrong_with_a_folder(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "label_rate": 50}))
    with pytest.raises(UserError, match=r"a MuQ with label_rate 50, where only 25 is known"):
        load_encoder(f"muq:{folder}")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config.json"):
        load_encoder(f"muq:{folder}")
