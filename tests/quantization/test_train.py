import numpy as np
import pytest
import torch

from audiossl.quantization.direct_sum_training import DirectSumConfig
from audiossl.quantization.kmeans import KMeansConfig
from audiossl.quantization.quantizer import Quantizer
from audiossl.quantization.residual import ResidualConfig
from audiossl.quantization.train import batches_for, train_quantizer

CODEBOOK = KMeansConfig(codebook_size=16, num_steps=6, batch_size=100)
CONFIGS = [
    DirectSumConfig(num_codebooks=2, phase_steps=(6, 6), batch_size=32),
    CODEBOOK,
    ResidualConfig(num_codebooks=2, codebook=CODEBOOK),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_state_in_state_out_through_a_file_equals_one_go(config, tmp_path):
    frames = np.random.default_rng(0).standard_normal((600, 8)).astype(np.float16)
    np.save(tmp_path / "frames.npy", frames)
    batches = batches_for(config, np.load(tmp_path / "frames.npy", mmap_mode="r"))
    state, rounds = None, 0
    while state is None or state["step"] < config.total_steps:
        training = train_quantizer(batches, config, state, num_steps=5)
        torch.save(training.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        rounds += 1
    assert rounds == -(-config.total_steps // 5)
    whole = train_quantizer(batches, config)
    assert whole.step == config.total_steps
    assert isinstance(whole.quantizer, Quantizer)
    assert training.quantizer.id == whole.quantizer.id
