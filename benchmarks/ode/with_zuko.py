"""zuko: `CNF`, whose equation has the same form."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from zuko.flows import CNF

from ode.case import FREQUENCIES, HIDDEN, LEARNING_RATE, Case, weights
from ode.in_torch import DEVICE, TorchPeer, to_numpy


class Zuko(TorchPeer):
    """Exact for densities, one Gaussian probe in training."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        settings = {
            "freqs": FREQUENCIES,
            "hidden_features": HIDDEN,
            "activation": nn.Tanh,
            "atol": case.tolerance,
            "rtol": case.tolerance,
        }
        self.exact, self.estimate = (
            CNF(case.dim, exact=exact, **settings).to(DEVICE) for exact in (True, False)
        )
        for flow in (self.exact, self.estimate):
            linear = [part for part in flow.transform.ode if hasattr(part, "weight")]
            for layer, (kernel, bias) in zip(linear, weights(case), strict=True):
                layer.weight.data = torch.from_numpy(kernel.T.copy()).to(DEVICE)
                layer.bias.data = torch.from_numpy(bias).to(DEVICE)
        self.exact.eval()
        self.estimate.train()
        self.optimizer = torch.optim.Adam(self.estimate.parameters(), lr=LEARNING_RATE)
        self.initial = {k: v.clone() for k, v in self.estimate.state_dict().items()}

    def log_prob(self) -> np.ndarray:
        with torch.no_grad():
            return to_numpy(self.exact().log_prob(self.x))

    def evaluations(self) -> float:
        count, transform = 0, self.exact.transform
        velocity = transform.f

        def counted(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            return velocity(*arguments, **options)

        transform.f = counted
        self.log_prob()
        del transform.f
        return count

    def step(self) -> None:
        """One training step, from the same weights each time."""
        self.optimizer.zero_grad()
        loss = -self.estimate().log_prob(self.x).mean()
        loss.backward()
        self.optimizer.step()

    def calls(self) -> dict[str, Callable[[], object]]:
        def step() -> None:
            self.step()
            self.estimate.load_state_dict(self.initial)

        return {"log_prob": self.log_prob, "step": step}
