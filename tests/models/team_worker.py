"""One process of a team, started by torchrun: fits a line, and leaves its weights in a folder."""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from partstream_models.networks.checkpoints import save_tensors
from partstream_models.training.fit import Fit, FitConfig
from partstream_models.training.process_group import joined_team


class Line:
    """Two layers, of which a draw uses the second one now and then, and a loss that can be broken."""

    def __init__(self, broken_draw: int) -> None:
        torch.manual_seed(3)
        self.network: nn.Module = nn.ModuleDict({"always": nn.Linear(2, 2), "rarely": nn.Linear(2, 2)})
        self._broken_draw = broken_draw

    def losses(self, step: int) -> dict[str, Tensor]:
        """They follow from the draw's number."""
        x = torch.tensor([[step % 5 - 2.0, step % 3 - 1.0]])
        assert isinstance(self.network, nn.ModuleDict)
        y = self.network["always"](x)
        if step % 4 == 1:
            y = y + self.network["rarely"](x)
        error = (y - 3 * x - 1).square().mean()
        return {"error": error * float("nan") if step == self._broken_draw else error}


def train(folder: Path, broken_draw: int) -> None:
    """Fit and save; the first process alone writes the weights, every process what it skipped."""
    torch.set_num_threads(1)
    config = FitConfig(num_steps=9, batch=4, learning_rate=0.02, drops=(0.5,))
    with joined_team(os.environ, "cpu") as (team, device):
        task = Line(broken_draw)
        fit = Fit(task, config, name="line", device=device, team=team)
        skipped = [report.step for report in fit.steps(minutes=10) if report.skipped]
        own = task.network.state_dict()
        save_tensors(folder / f"{team.size}-{team.rank}.safetensors", own, notes={"skipped": skipped})


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))
