import torch

from audiossl.nn.x_vector import LOST, XVector, XVectorConfig

SMALL = XVectorConfig(width=6, pooled=5)


def test_padding_does_not_reach_the_vector():
    network = XVector(4, SMALL)
    frames, lengths = torch.randn(3, 40, 4), torch.tensor([40, 25, 15])
    louder = frames.clone()
    for row, length in enumerate(lengths.tolist()):
        louder[row, length:] = 1e3
    torch.testing.assert_close(network(frames, lengths), network(louder, lengths))
    alone = network(frames[2:, :15], lengths[2:])
    torch.testing.assert_close(network(frames, lengths)[2:], alone)


def test_a_layer_sees_as_many_frames_as_the_paper_says():
    network = XVector(4, SMALL)
    frames = torch.randn(1, LOST + 1, 4, requires_grad=True)
    channels = network.projection(frames).mT
    for layer in network.layers:
        channels = layer(channels)
    assert channels.shape[2] == 1
    channels.sum().backward()
    assert (frames.grad != 0).any(dim=2).all()


def test_frames_that_do_not_vary_have_a_finite_gradient():
    network = XVector(4, SMALL)
    network(torch.zeros(2, 20, 4), torch.tensor([20, 3])).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
