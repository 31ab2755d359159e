import torch

from audiossl.models.zipformer.positions import for_length, relative_positions


def test_values_are_those_of_the_public_implementation():
    encoding = relative_positions(10, 48)
    after, before = encoding[9 + 3], encoding[9 - 5]
    expected = [0.950675, 0.310190, 0.807565, 0.589779, 0.584788, 0.811186]
    torch.testing.assert_close(after[:6], torch.tensor(expected), atol=2e-6, rtol=0)
    torch.testing.assert_close(after[-2:], torch.tensor([0.280739, 1.0]), atol=2e-6, rtol=0)
    expected = [0.897023, -0.441984, 0.609300, -0.792940, 0.196090, -0.980586]
    torch.testing.assert_close(before[:6], torch.tensor(expected), atol=2e-6, rtol=0)


def test_encodings_of_few_frames_are_among_those_of_many():
    many = relative_positions(40, 48)
    for length in (1, 2, 7, 40):
        torch.testing.assert_close(for_length(many, length), relative_positions(length, 48))
