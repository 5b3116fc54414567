"""The processes that train one network together, as `torchrun` starts them.

Each process has the whole network and a share of every step's draws; gradients are averaged by PyTorch's
DistributedDataParallel. One process alone is a team of one, and needs none of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Rank and world size of this process."""

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank {self.rank} is not one of {self.size} processes")

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """A block that the others begin when the leading process is through, such as making a cache."""
        if not self.leads:
            distributed.barrier()
        try:
            yield
        finally:
            if self.leads and self.size > 1:
                distributed.barrier()

    def all_of(self, mine: bool, device: str) -> bool:
        """Whether it is so in every process; all have to ask."""
        if self.size == 1:
            return mine
        flag = torch.tensor([float(mine)], device=device)
        distributed.all_reduce(flag, distributed.ReduceOp.MIN)
        return bool(flag.item())


@contextmanager
def joined_team(environment: Mapping[str, str], device: str) -> Iterator[tuple[ProcessGroup, str]]:
    """The team that `torchrun` started, and this process's device; a team of one without it.

    Args:
        environment: RANK, WORLD_SIZE and LOCAL_RANK, with MASTER_ADDR and MASTER_PORT to meet at.
        device: `cpu` or `cuda`; of several CUDA devices each process takes the one of its local rank.

    Raises:
        ValueError: A variable is missing or is no number, or a CUDA device was named by number.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup(), device
        return
    try:
        team = ProcessGroup(int(environment["RANK"]), int(environment["WORLD_SIZE"]))
        local = int(environment["LOCAL_RANK"])
    except KeyError as error:
        raise ValueError(f"WORLD_SIZE is set, but {error} is not: start it with torchrun") from error
    if device.startswith("cuda"):
        if device != "cuda":
            raise ValueError(f"with several processes each takes its own device: say cuda, not {device}")
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield team, device
        # the first process to leave closes the rendezvous store, and the others' threads abort
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
