"""Scores of X-ARES itself on a toy task of tars, as JSON; run by an interpreter that has `xares`.

    python tests/probing/protocols/xares_peer.py FOLDER CLASSES

FOLDER has a folder `toy` of tars. Audio is decoded by soundfile: torchaudio's decoder wants
torchcodec, without which X-ARES sees no sample and says nothing.
"""

import io
import json
import os
import sys
from pathlib import Path

import soundfile
import torch
import webdataset
from torch import nn
from xares import task
from xares.common import XaresSettings
from xares.models.simple import Mlp

from tests.probing.protocols.toy_encoder import Toy


def decoded(key, data):
    """Decode a sample as `wds.torch_audio` does."""
    if not key.endswith("flac"):
        return None
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


class ToyEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.toy, self.sampling_rate, self.output_dim, self.hop_size_in_ms = Toy(), 16_000, 24, 20.0

    def forward(self, audio):
        return self.toy(audio).vectors


class Seeded(Mlp):
    """X-ARES' head, whose weights begin as the seed says, in every fold.

    It seeds torch once, and what is drawn before the first head depends on how embeddings are read.
    """

    def __init__(self, *arguments, **settings):
        torch.manual_seed(42)
        super().__init__(*arguments, **settings)


def main(folder: Path, classes: int) -> None:
    webdataset.torch_audio = decoded
    settings = {
        "encoder": ToyEncoder(), "name": "toy", "output_dim": classes, "env_root": folder,
        "label_processor": lambda labels: labels["label"], "num_encoder_workers": 0,
    }  # fmt: skip
    folds = sorted(folder.glob("toy/wds-audio-fold-*"))
    if folds:
        settings["k_fold_splits"] = list(range(1, len(folds) + 1))
    found = task.XaresTask(task.TaskConfig(**settings))
    found.mlp_model = Seeded
    (folder / "toy" / XaresSettings().audio_ready_filename).touch()
    found.make_encoded_tar()
    print("scores:", json.dumps({"mlp": found.run_mlp()[0], "knn": found.run_knn()[0]}))


if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    main(Path(sys.argv[1]), int(sys.argv[2]))
