import math

import torch

from audiossl.audio.mixing import gain_for, mean_power, placed, power_share


def test_the_gain_gives_the_ratio_that_was_asked_for():
    main, other = torch.randn(5, 4000), 3.0 * torch.randn(5, 4000)
    lengths = torch.tensor([4000, 3000, 2000, 1000, 500])
    for row, length in enumerate(lengths):
        main[row, length:] = other[row, length:] = 0
    wanted = torch.tensor([-5.0, 0.0, 5.0, 10.0, 20.0])
    powers = mean_power(main, lengths), mean_power(other, lengths)
    gains = gain_for(*powers, wanted)
    for row, length in enumerate(lengths):
        signal = main[row, :length].double().square().mean()
        noise = (gains[row] * other[row, :length]).double().square().mean()
        assert math.isclose(10 * math.log10(signal / noise), wanted[row], abs_tol=1e-3)


def test_the_share_of_power_follows_from_the_ratio_alone():
    snr = torch.tensor([-5.0, 0.0, 5.0])
    powers = torch.tensor([1.0, 0.2, 3.0]), torch.tensor([0.1, 5.0, 3.0])
    shares = power_share(*powers, gain_for(*powers, snr))
    torch.testing.assert_close(shares, 1 / (1 + 10 ** (snr / 10)))


def test_silence_gets_no_gain_and_no_share():
    zero, one = torch.zeros(1), torch.ones(1)
    assert gain_for(one, zero, zero) == 0
    assert gain_for(zero, one, zero) == 0
    assert power_share(zero, zero, one) == 0


def test_pieces_lie_where_they_were_put():
    rows = torch.arange(1.0, 21.0).view(2, 10)
    found = placed(rows, torch.tensor([2, 0]), torch.tensor([3, 10]), torch.tensor([4, 7]), size=12)
    assert found[0].tolist() == [0, 0, 0, 0, 3, 4, 5, 0, 0, 0, 0, 0]
    assert found[1].tolist() == [0] * 7 + [11, 12, 13, 14, 15]
    codes = placed(
        rows.long()[..., None], torch.tensor([0, 9]), torch.tensor([1, 1]), torch.tensor([0, 0]),
        size=2, fill=-100,
    )  # fmt: skip
    assert codes[..., 0].tolist() == [[1, -100], [20, -100]]
