import torch
import torch.nn.functional as F

from audiossl.quantization.random_projection import RandomProjectionQuantizer


def test_codes_are_those_of_the_paper():
    quantizer = RandomProjectionQuantizer(10, num_codebooks=3, codebook_size=40, projected_dim=4)
    frames = torch.randn(60, 10)
    codes = quantizer.encode(frames)
    for book in range(3):
        projected = F.normalize(frames @ quantizer.projection[book], dim=1)
        distances = torch.cdist(projected, quantizer.entries[book])
        assert torch.equal(codes[:, book].long(), distances.argmin(1))


def test_the_seed_decides_everything():
    one, same = RandomProjectionQuantizer(10, seed=1), RandomProjectionQuantizer(10, seed=1)
    assert one.id == same.id != RandomProjectionQuantizer(10, seed=2).id
    assert not list(one.parameters())


def test_a_frame_with_the_direction_of_an_entry_comes_back_as_that_direction():
    quantizer = RandomProjectionQuantizer(6, codebook_size=30, projected_dim=6)
    frames = quantizer.decode(torch.arange(30)[:, None])
    assert quantizer.encode(5 * frames)[:, 0].tolist() == list(range(30))
