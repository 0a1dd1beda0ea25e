"""What the torch frameworks share: eager calls and a plain training loop."""

import copy
import os
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from frameworks import base
from frameworks.base import Case, Peer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TorchPeer(Peer):
    """A module, trained by Adam."""

    compiled = False

    def __init__(self, case: Case, dim: int) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        torch.manual_seed(0)
        self.flow = self.make_flow(case, dim).to(DEVICE)
        self.num_parameters = sum(param.numel() for param in self.flow.parameters())
        self.optimizer = torch.optim.Adam(self.flow.parameters(), lr=base.LEARNING_RATE)

    @staticmethod
    @abstractmethod
    def make_flow(case: Case, dim: int) -> nn.Module:
        """The flow of a case."""

    @staticmethod
    @abstractmethod
    def log_prob(flow: nn.Module, x: Tensor) -> Tensor:
        """Log-densities of rows."""

    @staticmethod
    @abstractmethod
    def sample(flow: nn.Module, count: int) -> Tensor:
        """Samples (count, dim)."""

    @staticmethod
    def wait(result: object) -> None:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    def step(self, x: Tensor) -> None:
        """One training step."""
        self.optimizer.zero_grad()
        loss = -self.log_prob(self.flow, x).mean()
        loss.backward()
        self.optimizer.step()

    def calls(self, x: np.ndarray) -> dict[str, Callable[[], object]]:
        batch = torch.from_numpy(x).to(DEVICE)
        return {
            "log_prob": torch.no_grad()(lambda: self.log_prob(self.flow, batch)),
            "step": lambda: self.step(batch),
            "sample": torch.no_grad()(lambda: self.sample(self.flow, len(batch))),
        }

    @torch.no_grad()
    def rounding_error(self, x: np.ndarray) -> float:
        batch = torch.from_numpy(x).to(DEVICE)
        flow = copy.deepcopy(self.flow)
        for param in flow.parameters():
            param.normal_(std=base.PARAMETER_SCALE)
        single = self.log_prob(flow, batch)
        # Also the default, in which normflows adds up its log-determinants.
        torch.set_default_dtype(torch.float64)
        double = self.log_prob(flow.double(), batch.double())
        torch.set_default_dtype(torch.float32)
        return float((single - double).abs().max())

    def fit(self, x: np.ndarray) -> None:
        rows = torch.from_numpy(x).to(DEVICE)
        held_out = round(len(rows) * base.FIT_VALIDATION)
        validation, train = rows[:held_out], rows[held_out:]
        for _ in range(base.FIT_EPOCHS):
            order = torch.randperm(len(train), device=DEVICE)
            for index in order.split(base.FIT_BATCH):
                self.step(train[index])
            with torch.no_grad():
                self.log_prob(self.flow, validation).mean().item()
