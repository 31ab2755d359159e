"""A corpus of speech and one of sounds, with codes, and settings that train on them in seconds."""

from dataclasses import replace
from pathlib import Path

from audiossl.data.coded_cuts import CodedCorpusConfig, CodedCutsConfig
from audiossl.data.plan import PlanConfig
from audiossl.methods.masked_codes import MaskedCodesConfig
from audiossl.methods.mixing import MixingConfig
from audiossl.optim.build import ScaledAdamConfig
from audiossl.optim.eden import EdenConfig
from audiossl.training.averaging import AveragingConfig
from audiossl.training.loop import LoopConfig
from recipes.pretraining import TrainingResources
from recipes.spear.pretrain import Config
from tests.data.corpora import encode, prepare, write_folder
from tests.methods.codes import SMALL

MIXED = MaskedCodesConfig(
    mixing=MixingConfig(
        speech_probability=0.8, audio_probability=0.5, utterance_share=0.5, mix_codes=True,
        longest_delay=0.4,
    )
)  # fmt: skip


def write_corpora(folder: Path) -> None:
    """Speech with speech codes, sounds with both kinds, and noise without any."""
    durations = {"speech": [1.0, 0.8, 1.2, 0.9, 1.1, 0.7], "sounds": [0.9, 1.2, 0.8, 1.0]}
    for name, seconds in durations.items():
        write_folder(folder / f"{name}_audio", seconds)
        prepare(folder / f"{name}_audio", folder / name)
        encode(folder / name, folder / f"{name}_speech_codes", "speech")
    encode(folder / "sounds", folder / "sounds_audio_codes", "audio", rate=25.0, books=2)


def spear_config(folder: Path, output: Path, **changes: object) -> Config:
    """Train on both corpora for six steps."""
    sounds = folder / "sounds"
    config = Config(
        output=output,
        corpora=(
            CodedCorpusConfig(cuts=folder / "speech", codes=(folder / "speech_speech_codes",)),
            CodedCorpusConfig(
                cuts=sounds, domain="audio",
                codes=(folder / "sounds_speech_codes", folder / "sounds_audio_codes"),
            ),
        ),
        data=CodedCutsConfig(
            targets={"speech": ["speech"], "audio": ["speech", "audio"]}, noise=(sounds,)
        ),
        plan=PlanConfig(batch_size=4, num_buckets=2, multiple=2),
        encoder=SMALL,
        method=MIXED,
        loop=LoopConfig(
            steps=6, averaging=AveragingConfig(period=2, last=4),
            optimizer=ScaledAdamConfig(schedule=EdenConfig(warmup_steps=2)),
        ),
        resources=TrainingResources(device="cpu", log_every=2, save_every=2),
    )  # fmt: skip
    return replace(config, **changes)
