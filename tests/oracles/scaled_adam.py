"""ScaledAdam as its formulas say it: one tensor at a time."""

import statistics

import torch


class NaiveScaledAdam:
    def __init__(self, parameters, lr, clipping_scale=2.0):
        self.parameters, self.lr, self.clipping_scale = parameters, lr, clipping_scale
        self.step_count, self.norms, self.threshold = 0, [], None
        self.states = [
            {
                "delta": torch.zeros_like(p),
                "v": torch.zeros_like(p),
                "rms": p.square().mean().sqrt(),
                "v_scale": torch.zeros(()),
                "recent": [],
            }
            for p in parameters
        ]

    def step(self, gradients):
        gradients = self.clipped(gradients)
        for parameter, gradient, state in zip(self.parameters, gradients, self.states, strict=True):
            self.update(parameter, gradient, state)
        self.step_count += 1

    def clipped(self, gradients):
        relative = [
            gradient * (1.0 if p.numel() == 1 else state["rms"])
            for p, gradient, state in zip(self.parameters, gradients, self.states, strict=True)
        ]
        norm = float(sum(r.square().sum() for r in relative).sqrt())
        self.norms = [*self.norms, norm][-100:]
        if self.step_count and self.step_count % 100 == 0:
            self.threshold = self.clipping_scale * statistics.median_high(self.norms)
        factor = 1.0 if self.threshold is None else min(1.0, self.threshold / norm)
        return [gradient * factor for gradient in gradients]

    def update(self, p, g, state):
        s, lr, b1, b2, eps = self.step_count, self.lr, 0.9, 0.98, 1e-8
        state["delta"] = b1 * state["delta"]
        if p.numel() > 1:
            state["recent"].append((p * g).sum())
            if s % 4 == 3:
                self.update_size(p, state)
        state["v"] = b2 * state["v"] + (1 - b2) * g**2
        correction = 1 - b2 ** (s + 1)
        v = state["v"] / correction if correction < 0.99 else state["v"]
        size = 0.1 if p.numel() == 1 else state["rms"].clamp(min=1e-5)
        if p.numel() == 1:
            p.clamp_(-10, 10)
        state["delta"] = state["delta"] - lr * (1 - b1) * size * g / (v.sqrt() + eps)
        p += state["delta"]

    def update_size(self, p, state):
        s, lr, b1, b2, eps = self.step_count, self.lr, 0.9, 0.98**4, 1e-8
        recent = torch.stack(state["recent"])
        state["recent"] = []
        state["rms"] = rms = p.square().mean().sqrt()
        state["v_scale"] = b2 * state["v_scale"] + (1 - b2) * recent.square().mean()
        correction = (1 - b2 ** ((s + 1) / 4)) ** 0.5
        change = -lr * 0.1 * correction * recent.sum() / (state["v_scale"].sqrt() + eps)
        change = 0.0 if rms < 1e-5 else min(change, (3.0 - rms) / rms)
        state["delta"] = state["delta"] + (1 - b1) * change * p
