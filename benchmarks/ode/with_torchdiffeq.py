"""torchdiffeq, with the divergence as in the code of FFJORD."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from ode.case import FREQUENCIES, LEARNING_RATE, Case, weights
from ode.in_torch import DEVICE, TorchPeer, to_numpy


class Equation(nn.Module):
    """The velocity of the event, and of its log-determinant."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for kernel, bias in weights(case):
            linear = nn.Linear(*kernel.shape)
            linear.weight.data = torch.from_numpy(kernel.T.copy())
            linear.bias.data = torch.from_numpy(bias)
            layers += [linear, nn.Tanh()]
        self.network = nn.Sequential(*layers[:-1])
        self.register_buffer("frequencies", math.pi * torch.arange(1, FREQUENCIES + 1))
        self.probe: Tensor | None = None
        self.count = 0

    def forward(self, time: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        self.count += 1
        with torch.set_grad_enabled(True):
            x = state[0].requires_grad_(True)
            angles = (self.frequencies * time).expand(len(x), -1)
            velocity = self.network(torch.cat([angles.cos(), angles.sin(), x], dim=-1))
            if self.probe is None:
                divergence = sum(
                    torch.autograd.grad(velocity[:, i].sum(), x, create_graph=True)[0][:, i]
                    for i in range(x.shape[1])
                )
            else:
                product = torch.autograd.grad(velocity, x, self.probe, create_graph=True)[0]
                divergence = (product * self.probe).sum(dim=-1)
        return velocity, divergence


class Torchdiffeq(TorchPeer):
    """A sign for each entry as the probe; gradients go back through the solver's operations."""

    solve = staticmethod(odeint)

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.equation = Equation(case).to(DEVICE)
        self.times, self.tolerance = torch.tensor([0.0, 1.0], device=DEVICE), case.tolerance
        self.optimizer = torch.optim.Adam(self.equation.parameters(), lr=LEARNING_RATE)
        self.initial = {k: v.clone() for k, v in self.equation.state_dict().items()}

    def _log_prob(self, solve: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
        start = self.x.clone(), torch.zeros(len(self.x), device=DEVICE)
        settings = {"method": "dopri5", "rtol": self.tolerance, "atol": self.tolerance}
        z, log_det = (end[-1] for end in solve(self.equation, start, self.times, **settings))
        normal = -0.5 * (z**2).sum(dim=-1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
        return normal + log_det

    def log_prob(self) -> np.ndarray:
        self.equation.probe = None
        with torch.no_grad():
            return to_numpy(self._log_prob(odeint))

    def evaluations(self) -> float:
        self.equation.count = 0
        self.log_prob()
        return self.equation.count

    def step(self) -> None:
        """One training step, from the same weights each time."""
        self.equation.probe = torch.randint_like(self.x, 2) * 2 - 1
        self.optimizer.zero_grad()
        (-self._log_prob(self.solve).mean()).backward()
        self.optimizer.step()
        self.equation.load_state_dict(self.initial)

    def calls(self) -> dict[str, Callable[[], object]]:
        return {"log_prob": self.log_prob, "step": self.step}


class Adjoint(Torchdiffeq):
    """As FFJORD was trained: the adjoint equation, solved back in time."""

    solve = staticmethod(odeint_adjoint)
