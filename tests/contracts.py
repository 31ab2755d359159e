"""Every method and every encoder, tiny, and stages that train them on the corpora of a fixture."""

import json
import re
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.experiment import stage

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
ARCHIVE = Path(__file__).parent / "golden/old_runs.tar.xz"
"""Corpora: cuts, stems, codes_speech, pairs."""
WAV2VEC2 = json.dumps({
    "name": "tiny", "type": "Wav2Vec2", "normalize": True, "layer": None, "parameters": {
        "extractor_mode": "group_norm", "extractor_conv_bias": False,
        "extractor_conv_layer_config": [[8, 10, 5], [8, 8, 4], [8, 4, 4], [8, 4, 4]],
        "encoder_embed_dim": 32, "encoder_projection_dropout": 0.1, "encoder_pos_conv_kernel": 8,
        "encoder_pos_conv_groups": 4, "encoder_num_layers": 1, "encoder_num_heads": 2,
        "encoder_attention_dropout": 0.1, "encoder_ff_interm_features": 32,
        "encoder_ff_interm_dropout": 0.1, "encoder_dropout": 0.1, "encoder_layer_drop": 0.1,
        "encoder_layer_norm_first": False, "aux_num_out": None,
    },
})  # fmt: skip
ENCODERS = {
    "efficientnet": "{kind: efficientnet, width: 0.05, depth: 0.1}",
    "zipformer": (
        "{kind: zipformer, dim: 16, feed_forward_dim: 32, num_layers: [1, 1], strides: [1, 2], "
        "kernel_sizes: [7, 7], num_heads: 2, query_dim: 4, position_dim: 8, value_dim: 4, "
        "unmasked_dim: 8, num_bins: 16}"
    ),
    "patch_transformer": "{kind: patch_transformer, dim: 16, layers: 1, heads: 2}",
    "projected": "{kind: projected, hop: 320, dim: 16, blocks: 2}",
    "layered": (
        "{kind: layered, layers: [0, 2], network: {dim: 16, feed_forward_dim: 32, num_layers: "
        "[1, 1], strides: [1, 2], kernel_sizes: [7, 7], num_heads: 2, query_dim: 4, position_dim: "
        "8, value_dim: 4, unmasked_dim: 8, num_bins: 16}}"
    ),
    "wav2vec2": f"{{kind: wav2vec2, architecture: '{WAV2VEC2}'}}",
    "python:patches:Patches": "{kind: python:patches:Patches, dim: 16}",
    "python:clips:Clips": "{kind: python:clips:Clips}",
}
"""A tiny one of each kind, and one that has no frames."""
BINS = {
    "efficientnet": "--encoders.{}.front_end.num_bands",
    "zipformer": "--encoders.{}.num_bins",
    "patch_transformer": "--encoders.{}.front_end.num_bins",
    "projected": "--encoders.{}.hop",
    "layered": "--encoders.{}.network.num_bins",
    "python:patches:Patches": "--encoders.{}.num_bins",
}
"""Setting of the number of values in a feature frame."""
CLIPS = '''"""An encoder without settings and without frames, made from one of the package."""

from audiossl.features.log_mel import LogMelConfig
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig


class Clips(EfficientNet):
    def __init__(self):
        front_end = LogMelConfig(num_bands=32)
        super().__init__(EfficientNetConfig(front_end=front_end, width=0.05, depth=0.1))
        self.frame_rate = 0.0
'''
COMMON = ["--loop.steps", "3", "--resources.device", "cpu", "--resources.log_every", "1"]
COMMON += ["--resources.save_every", "1", "--resources.keep", "5"]
VIEWS = [*COMMON, "--cuts", "cuts", "--batch_size", "4", "--views.crop_samples", "8000"]
OVERLAPPING = ["--views.overlap", "0.5", "--views.crop_samples", "16000"]


@dataclass(frozen=True)
class Recipe:
    """A stage that pretrains."""

    module: str
    work: str
    words: list[str]
    has_pairs: bool = False

    def run(self, encoder: str, output: str) -> None:
        """Train an encoder of a kind."""
        module = import_module(f"recipes.{self.module}.pretrain")
        words = [*self.words, "--encoder", ENCODERS[encoder]]
        if self.module == "code_matching":
            words = [*self.words, *_of_modalities(encoder)]
        stage(module, getattr(module, self.work), *words, "--output", output)


def _of_modalities(encoder: str) -> list[str]:
    words = []
    for modality in ("mixture", "stem"):
        words += [f"--encoders.{modality}", ENCODERS[encoder]]
        if encoder in BINS:
            words += [BINS[encoder].format(modality), "32"]
    return words


STEMS = ["--stems", "stems", "--views.sources", "{low: 1, high: 1}", "--views.silent", "true"]
CODES = ["--corpora", "[{cuts: cuts, codes: [codes_speech], domain: speech}]"]
CODES += ["--data.targets", "{speech: [speech]}", "--plan", "{batch_size: 2, num_buckets: 1}"]
WAVEFORMS = ["--cuts", "cuts", "--plan", "{batch_size: 4, num_buckets: 1}"]
CROPS = ["--cuts", "cuts", "--crops.shares", "{'16000': 1}", "--crops.label", "native_rate"]
CROPS += ["--crops.lengths", "[0.5]", "--crops.batch_duration", "2"]
TEACHER = ["--method.teachers", "{cepstra: {source: 'mfcc:'}}"]
FEW = "{size: 8, hidden: 8, bottleneck: 4}"
ASIT = f"{{kind: asit, clips: {FEW}, frames: {FEW}}}"
LOG_MEL = ["--teacher", "log_mel_statistics:"]
VIEW = "{hop: 320, dim: 8, blocks: 2}"
MATCHING = "{embedding_dim: 8, codebook: {codebook_size: 8, dim: 4}}"
SMALL = ["--method.projection_dim", "8"]
BARLOW = "python:barlow:BarlowTwins"
METHODS = {
    "cola": Recipe("cola", "cola", [*VIEWS, *SMALL], has_pairs=True),
    "source_association": Recipe(
        "source_association", "associate", [*VIEWS, *STEMS, *SMALL], has_pairs=True
    ),
    "soft_negatives": Recipe(
        "cola", "cola", [*VIEWS, "--method", "{kind: soft_negatives, queue: 4}"], has_pairs=True
    ),
    "time_contrast": Recipe(
        "cola",
        "cola",
        [*VIEWS, *OVERLAPPING, "--method", "time_contrast"],
        has_pairs=True,
    ),
    "masked_codes": Recipe("spear", "spear", [*COMMON, *CODES]),
    "code_matching": Recipe(
        "code_matching",
        "code_matching",
        [*COMMON, "--pairs", "pairs_32", "--batch_size", "4", "--method", MATCHING],
    ),
    "masked_patches": Recipe("waveforms", "train_on_waveforms", [*COMMON, *WAVEFORMS]),
    "asit": Recipe("waveforms", "train_on_waveforms", [*COMMON, *WAVEFORMS, "--method", ASIT]),
    "frame_projections": Recipe(
        "waveforms",
        "train_on_waveforms",
        [
            *COMMON,
            *WAVEFORMS,
            "--method",
            f"{{kind: frame_projections, basis: {VIEW}, frame: {VIEW}}}",
        ],
    ),
    "distillation": Recipe("distillation", "distill", [*COMMON, *CROPS, *TEACHER]),
    "privileged": Recipe("privileged", "inform", [*COMMON, *CROPS, "--stems", "stems", *LOG_MEL]),
    BARLOW: Recipe("cola", "cola", [*VIEWS, "--method.kind", BARLOW], has_pairs=True),
}


def make_pairs() -> None:
    """Make pairs whose frames are wide enough for every encoder."""
    modality = "{kind: sound, encoder: 'log_mel:32'}"
    module = import_module("recipes.code_matching.pairs")
    stage(
        module, module.make_pairs, "--pairs", "{kind: stems, window: 0.5, hop: 0.5}",
        "--modalities", f"{{mixture: {modality}, stem: {modality}}}", "--cuts", "[cuts,stems]",
        "--output", "pairs_32",
    )  # fmt: skip


def stop_after_two(finished: Path, output: Path) -> None:
    """Copy a run of three steps as it was after two, when something stopped it."""
    shutil.copytree(finished, output)
    (output / "checkpoints/step-00000003.pt").unlink()
    for path in [*output.glob("*.safetensors"), output / "config.json"]:
        path.unlink()
    record = json.loads((output / "stage.json").read_text())
    (output / "stage.json").write_text(json.dumps({**record, "finished": None, "results": None}))


def files_of(document: Path) -> dict[str, str]:
    """Find the files that a document shows: blocks of code whose first line is a file's name."""
    blocks = re.findall(r"```\w+\n# ([\w.]+)\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    return dict(blocks)


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
