"""The stages that an accelerator works in, on random audio that is already on the device."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiossl.batches import CodeBatch, DataFacts, PairBatch, Target, ViewBatch
from audiossl.features.kaldi_fbank import KaldiFbank, KaldiFbankConfig
from audiossl.methods.code_matching import CodeMatching, CodeMatchingConfig
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.methods.masked_codes import MaskedCodes, MaskedCodesConfig
from audiossl.models.batching import Batching, encode_all
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.models.modality_encoders import (
    ConvolutionsConfig,
    FramesConfig,
    build_modality_encoder,
)
from audiossl.models.zipformer.config import BASE, LARGE, TINY, ZipformerConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.models.zipformer.training.regularizers import period
from audiossl.models.zipformer.training.schedules import Progress
from audiossl.optim.build import AdamWConfig, OptimizerConfig, ScaledAdamConfig, build_optimizer
from audiossl.probing.heads import HeadPlan, train_heads
from audiossl.probing.mlp import MlpConfig, fit_mlp
from audiossl.probing.probe import Examples, Problem
from audiossl.quantization.direct_sum import DirectSumQuantizer
from audiossl.training.compilation import begin_forward, compile_units
from recipes.benchmark.measures import Case, Mode

RATE = 16_000
LINEAR = HeadPlan(
    norm="standard", rates=tuple(10.0**power for power in range(-7, 0)), seeds=(0, 1, 2),
    batch_size=256, epochs=1,
)  # fmt: skip
"""Linear heads: 7 rates, 3 seeds."""
LATE = 2**24
"""The step from which SPEAR is measured: its schedules have come to their end."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much work a step is."""

    base: ZipformerConfig = BASE
    large: ZipformerConfig = LARGE
    efficientnet: EfficientNetConfig = EfficientNetConfig()
    cut_seconds: float = 15.0
    """Seconds of a cut in a step of SPEAR."""
    base_cuts: int = 40
    """Cuts in a step of the base network: 600 s of audio, as its authors' on one GPU."""
    large_cuts: int = 20
    """Cuts in a step of the large network: 300 s of audio."""
    pairs: int = 512
    """Pairs of crops in a step of COLA."""
    clips: int = 256
    """Clips in a step of code matching."""
    frames: int = 65_536
    """Frames that a quantizer encodes."""
    dim: int = 1280
    """Dimension of these frames."""
    files: int = 200
    """Files that are embedded, of 5 to 30 s."""
    rows: int = 16_384
    """Rows that probes are trained on."""
    sweep: MlpConfig = field(
        default=MlpConfig(
            rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), batch_size=256, max_epochs=4
        )
    )
    """Probes: 7 rates, 3 seeds."""


REHEARSED = Sizes(
    base=replace(TINY, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(7, 7)),
    large=replace(TINY, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(7, 7)),
    efficientnet=EfficientNetConfig(width=0.25, depth=0.25),
    cut_seconds=1.0, base_cuts=2, large_cuts=2, pairs=4, clips=4, frames=64, dim=32, files=4,
    rows=128, sweep=MlpConfig(hidden=16, rates=(1e-3, 1e-2), seeds=2, max_epochs=1),
)  # fmt: skip
"""Nothing but a test that all of it runs."""

Build = Callable[[Sizes, torch.device, Mode], Case]
"""From sizes, a device, and what to make of it."""


def spear_base(sizes: Sizes, device: torch.device, mode: Mode) -> Case:
    """Make a training step of SPEAR's base network."""
    return _spear(sizes.base, sizes.base_cuts, sizes, device, mode)


def spear_large(sizes: Sizes, device: torch.device, mode: Mode) -> Case:
    """Make a training step of SPEAR's large network."""
    return _spear(sizes.large, sizes.large_cuts, sizes, device, mode)


def cola(sizes: Sizes, device: torch.device, mode: Mode) -> Case:
    """Make a training step of COLA, on pairs of crops of one second."""
    encoder = EfficientNet(sizes.efficientnet)
    method = Cola(encoder, ColaConfig())
    _compile(encoder, device, mode)
    count = sizes.pairs
    anchors, positives = (_noise(count, RATE, device) for _ in range(2))
    recordings = torch.arange(count, device=device)
    batch = ViewBatch(anchors, positives, recordings >= 0, recordings)
    return Case(_training(method, batch, AdamWConfig(), device, mode), 2.0 * count, 1, mode)


def code_matching(sizes: Sizes, device: torch.device, mode: Mode) -> Case:  # noqa: ARG001
    """Make a training step of code matching: two modalities of 10 s, 80 bins at 100 Hz."""
    modalities = {
        modality: build_modality_encoder(
            FramesConfig(convolutions=ConvolutionsConfig(dim=256)), 80, 100.0
        )
        for modality in ("sound", "image")
    }
    shape = (sizes.clips, 1000, 80)
    batch = PairBatch(
        {modality: torch.randn(shape, device=device) for modality in modalities},
        {modality: torch.full((sizes.clips,), 1000, device=device) for modality in modalities},
        torch.arange(sizes.clips, device=device),
    )
    method = CodeMatching(modalities, CodeMatchingConfig())
    return Case(_training(method, batch, AdamWConfig(rate=1e-4), device), 10.0 * sizes.clips)


def encoding(sizes: Sizes, device: torch.device, mode: Mode) -> Case:  # noqa: ARG001
    """Encode frames, 50 of which are a second, with 16 codebooks of 256."""
    torch.manual_seed(0)
    quantizer = DirectSumQuantizer(sizes.dim, 16)
    for weights in quantizer.parameters():
        nn.init.normal_(weights, std=0.25)
    quantizer.to(device).eval()
    frames = torch.randn(sizes.frames, sizes.dim, device=device)
    return Case(lambda _: quantizer.encode(frames), sizes.frames / 50)


def embedding(sizes: Sizes, device: torch.device, mode: Mode) -> Case:  # noqa: ARG001
    """Embed files that have been read, with the base network."""
    encoder = Zipformer(sizes.base).to(device).eval()
    longest = 2 * sizes.cut_seconds
    lengths = np.random.default_rng(0).uniform(longest / 6, longest, sizes.files) * RATE
    waveforms = [np.random.default_rng(1).normal(size=int(n)).astype(np.float32) for n in lengths]
    batching = Batching(batch_seconds=20 * sizes.cut_seconds, precision="bfloat16")

    def embed(_: int) -> None:
        results = encode_all(
            encoder, iter(waveforms), lambda frames: {"clip": list(frames.clip)}, device=device,
            batching=batching,
        )  # fmt: skip
        for _result in results:
            pass

    return Case(embed, float(lengths.sum()) / RATE)


def probes(sizes: Sizes, device: torch.device, mode: Mode) -> Case:  # noqa: ARG001
    """Train a sweep of MLP probes on vectors of 768 dimensions and 50 classes."""
    problem = _problem(sizes, 50)
    return Case(lambda _: fit_mlp(sizes.sweep, problem, device))


def _problem(sizes: Sizes, classes: int) -> Problem:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2 * sizes.rows, 768)).astype(np.float32)
    targets = np.eye(classes, dtype=bool)[generator.integers(classes, size=2 * sizes.rows)]
    half = np.arange(sizes.rows)
    train, valid = (Examples(vectors[k::2], half, targets[k::2]) for k in range(2))
    return Problem(train, valid, "single", "accuracy")


def linear_sweep(sizes: Sizes, device: torch.device, mode: Mode) -> Case:  # noqa: ARG001
    """Train linear heads of 768 dimensions: 12 layers, 7 rates, 3 seeds."""
    layers = [_problem(sizes, 20)] * 12
    return Case(lambda _: train_heads(LINEAR, layers, device))


def linear_head(sizes: Sizes, device: torch.device, mode: Mode) -> Case:  # noqa: ARG001
    """Train one of them: what the sweep is compared with."""
    one, layer = replace(LINEAR, rates=LINEAR.rates[:1], seeds=(0,)), _problem(sizes, 20)
    return Case(lambda _: train_heads(one, [layer], device))


def features(sizes: Sizes, device: torch.device, mode: Mode) -> Case:  # noqa: ARG001
    """Compute the filter bank of a step's cuts."""
    front_end = KaldiFbank(KaldiFbankConfig()).to(device)
    samples = int(sizes.cut_seconds * RATE)
    waveforms = _noise(sizes.base_cuts, samples, device)
    lengths = torch.full((sizes.base_cuts,), samples, device=device)
    seconds = sizes.base_cuts * sizes.cut_seconds
    return Case(lambda _: front_end(waveforms, lengths), seconds)


def _spear(
    config: ZipformerConfig, cuts: int, sizes: Sizes, device: torch.device, mode: Mode
) -> Case:
    seconds = cuts * sizes.cut_seconds
    targets = {name: Target(16, 256, 50.0) for name in ("speech", "audio")}
    facts = DataFacts(seconds_per_step=seconds, targets=targets)
    encoder = Zipformer(config)
    method = MaskedCodes(encoder, MaskedCodesConfig(), facts)
    _compile(encoder, device, mode)
    samples, frames = int(sizes.cut_seconds * RATE), int(50 * sizes.cut_seconds)
    codes = torch.randint(256, (cuts, frames, 16), device=device)
    batch = CodeBatch(
        _noise(cuts, samples, device),
        torch.full((cuts,), samples, device=device),
        torch.arange(cuts, device=device) % 2,
        dict.fromkeys(targets, codes),
    )
    step = _training(method, batch, ScaledAdamConfig(rate=0.001), device, mode)
    repeats = period(Progress(LATE, float(LATE)))
    return Case(lambda number: step(LATE + number), seconds, repeats, mode)


def _training(
    method: nn.Module,
    batch: Any,
    config: OptimizerConfig,
    device: torch.device,
    mode: Mode = "eager",
) -> Callable[[int], None]:
    """Make a function that updates a method's weights once, in bfloat16 where a device has it."""
    method.to(device).train()
    optimizer = build_optimizer(config, method)

    def step(number: int) -> None:
        generator = torch.Generator(device).manual_seed(number)
        optimizer.zero_grad(set_to_none=True)
        if mode == "graphs":
            begin_forward(method)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
            loss: Tensor = method(batch, number, generator).total
        loss.backward()
        optimizer.step()

    return step


def _compile(encoder: nn.Module, device: torch.device, mode: Mode) -> None:
    """Compile an encoder; a rehearsal traces it only, which is what can go wrong on a CPU."""
    if mode != "eager":
        tried = device.type == "cpu"
        backend = "eager" if tried else "inductor"
        compile_units(encoder, backend, graphs=mode == "graphs" and not tried)


def _noise(rows: int, samples: int, device: torch.device) -> Tensor:
    return 0.1 * torch.randn(rows, samples, device=device)
