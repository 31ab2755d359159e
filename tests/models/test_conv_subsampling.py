import torch

from audiossl.models.conv_subsampling import ConvSubsampling
from audiossl.models.zipformer.kernels import blocks
from audiossl.models.zipformer.training.step import FrontEndStep


def test_blocks_without_gradients_are_the_whole(monkeypatch):
    network = ConvSubsampling(num_bins=24, dim=8)
    features, ends = torch.randn(2, 41, 24), torch.tensor([17, 9])
    expected = network(features, FrontEndStep(), ends).detach()
    monkeypatch.setattr(blocks, "BLOCK", 2000)
    with torch.no_grad():
        found = network(features, FrontEndStep(), ends)
    torch.testing.assert_close(found, expected)


def test_a_batch_without_padding_is_encoded_as_without_ends():
    network = ConvSubsampling(num_bins=24, dim=8)
    features = torch.randn(2, 41, 24)
    found = network(features, FrontEndStep(), torch.tensor([17, 17]))
    torch.testing.assert_close(found, network(features, FrontEndStep()))
