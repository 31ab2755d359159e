"""Demucs (Défossez, 2021; Rouard, Massa and Défossez, 2023): the trained four-stem separator.

The networks and their arithmetic are those of the package demucs; the loading (`demucs_weights`),
the batching of windows of many recordings (`recordings`) and the determinism are ours. Demucs'
random shifts are not offered: the stems would differ from one run to the next.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from audiossl.configs import Positive, Share
from audiossl.errors import UserError
from audiossl.installation import missing_package
from audiossl.nn.digests import digest_of_tensors
from audiossl.separation.demucs_weights import demucs, load_bag


@dataclass(frozen=True, kw_only=True)
class DemucsConfig:
    """A Demucs model, from a local folder or, if asked for, from the hub."""

    kind: Literal["demucs"] = "demucs"
    name: str = "htdemucs"
    """Bag of networks (htdemucs, htdemucs_ft: four times the work, htdemucs_6s, hdemucs_mmi), or
    the signature of a single one."""
    folder: str = ""
    """Folder of the weights; no network is used."""
    hub: bool = False
    """Whether the weights are fetched from Hugging Face, or taken from its cache; the name may then
    begin with a namespace other than adefossez/."""
    trust_pickle: bool = False
    """Whether code that a .th file may bring is run; not needed for the published ones, nor for
    safetensors."""
    overlap: Share = 0.25
    """Overlap of windows, as a share of a window; 0.1 is 17 % less work."""
    segment: Positive | None = None
    """Duration of a window in seconds, for networks without a transformer; others have that of
    their training."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type of matrix products and convolutions; bfloat16 changes the stems a little. float32
    is what torch takes for it: on recent GPUs convolutions in TF32."""


class Demucs:
    """A bag of Demucs networks as a `Separator`."""

    standardizes = True

    def __init__(
        self,
        bag: Any,
        *,
        overlap: float = 0.25,
        segment: float | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0 <= overlap < 1:
            raise UserError(f"demucs: overlap={overlap}: expected at least 0 and below 1")
        self.bag = bag.to(device).eval()
        self.overlap = overlap
        self.precision = precision
        self.device = torch.device(device)
        self.names: tuple[str, ...] = tuple(bag.sources)
        self.sample_rate = int(bag.samplerate)
        self.num_channels = int(bag.audio_channels)
        self.window = int(_segment(bag, segment) * self.sample_rate)
        self.identity: dict[str, Any] = {
            "separator": "demucs",
            "weights": digest_of_tensors(bag.state_dict()),
            "mixing": bag.weights,
            "overlap": overlap,
            "window": self.window,
            "precision": precision,
            "demucs": version("demucs"),
        }

    def separate(
        self,
        mixtures: Float[Tensor, "batch channels samples"],
        lengths: Int[Tensor, " batch"] | None = None,  # noqa: ARG002 - padding is what it expects
    ) -> dict[str, Float[Tensor, "batch samples"]]:
        """Separate one batch of windows; see `Separator.separate`.

        Raises:
            UserError: The windows are longer than the networks take.
        """
        if mixtures.shape[-1] > self.window:
            raise UserError(
                f"demucs: windows of {mixtures.shape[-1]} samples, at most {self.window} fit: "
                "use audiossl.separation.recordings.separate_recordings"
            )
        with torch.inference_mode(), self._autocast():
            stems = self._estimated(mixtures)
        mono = stems.float().mean(dim=2)
        return {name: mono[:, index] for index, name in enumerate(self.names)}

    def _estimated(
        self, mixtures: Float[Tensor, "batch channels samples"]
    ) -> Float[Tensor, "batch sources channels samples"]:
        """Do what `demucs.apply.apply_model` does with shifts=0 and split=False.

        That one moves every network to its device and back for each batch, which takes a tenth of
        the time of a small one.
        """
        estimates = totals = torch.zeros((), device=mixtures.device)
        length = mixtures.shape[-1]
        for network, weights in zip(self.bag.models, self.bag.weights, strict=True):
            valid = network.valid_length(length) if hasattr(network, "valid_length") else length
            before = (valid - length) // 2
            found = network(F.pad(mixtures, (before, valid - length - before)))
            scales = torch.tensor(weights, device=mixtures.device)
            estimates = estimates + found[..., before : before + length] * scales[:, None, None]
            totals = totals + scales
        return estimates / totals[:, None, None]

    def _autocast(self) -> AbstractContextManager[None]:
        enabled = self.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)


def _segment(bag: Any, wanted: float | None) -> float:
    """Give the seconds of a window: what the networks were trained on, or less where that helps."""
    trained = min(float(network.segment) for network in bag.models)
    if wanted is None:
        return trained
    transformer = any(type(network).__name__ == "HTDemucs" for network in bag.models)
    if not 0 < wanted <= trained or (transformer and wanted < trained):
        reason = (
            "its transformer always computes just that much, a shorter window saves nothing"
            if transformer
            else "anything up to that is possible"
        )
        raise UserError(
            f"demucs: segment={wanted} s, but the network was trained on {trained:g} s ({reason}): "
            "leave segment out"
        )
    return wanted


def load_demucs(config: DemucsConfig, device: torch.device | str = "cpu") -> Demucs:
    """Load the Demucs that `config` describes.

    Raises:
        UserError: Its weights are missing, damaged or not to be trusted, or nothing says where they
            are.
    """
    if bool(config.folder) == config.hub:
        raise UserError(
            "demucs: set folder to a folder with the weights (955717e8-8726e21a.th or "
            "955717e8.safetensors for htdemucs), or hub to fetch them; one of the two"
        )
    folder = _fetch(config.name) if config.hub else Path(config.folder)
    name = config.name.rpartition("/")[2]
    bag = load_bag(folder, name, trust_pickle=config.trust_pickle)
    return Demucs(
        bag,
        overlap=config.overlap,
        segment=config.segment,
        precision=config.precision,
        device=device,
    )


def _fetch(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(missing_package("demucs: hub", "huggingface_hub", "hub")) from error
    namespace, _, model = name.rpartition("/")
    repository = f"{namespace or 'adefossez'}/{demucs('hf').hf_repo_name(model)}"
    try:
        return Path(snapshot_download(repository, allow_patterns=["*.yaml", "*.safetensors"]))
    except Exception as error:  # the hub's errors have no common ancestor that says so
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"demucs: {repository} cannot be fetched ({reason}): copy its files into a folder by "
            "other means, and set folder to it"
        ) from error
