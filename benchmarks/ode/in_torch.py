"""What the peers in torch share: on a GPU where there is one, eager, as in their documentation."""

import os

import numpy as np
import torch
from torch import Tensor

from ode.case import Case, Peer, rows

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TorchPeer(Peer):
    """The rows on the device."""

    def __init__(self, case: Case) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        self.x = torch.from_numpy(rows(case)).to(DEVICE)

    @staticmethod
    def wait(result: object) -> None:
        """Torch on a CPU is done when it returns."""
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()


def to_numpy(values: Tensor) -> np.ndarray:
    """On the host."""
    return values.cpu().numpy()
