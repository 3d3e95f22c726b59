"""What federated averaging and federated distillation send, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from fastkd.models._hyperparameters import integer

__all__ = ["CommunicationCost", "communication_cost"]


@dataclass(frozen=True)
class CommunicationCost:
    """Bytes of both protocols over all rounds and clients.

    Attributes
    ----------
    fedavg_up, fedavg_down : int
        Parameters from the clients to the server, and back.
    fedmd_up, fedmd_down : int
        Predictions from the clients, and soft labels to them.
    public_set : int
        Sending the public rows to every client, once; 0 if they have them anyway.
    break_even : int
        Number of parameters from which on FedMD sends less, both ways and with the public set.
    """

    fedavg_up: int
    fedavg_down: int
    fedmd_up: int
    fedmd_down: int
    public_set: int
    break_even: int

    @property
    def fedavg(self) -> int:
        """All that federated averaging sends."""
        return self.fedavg_up + self.fedavg_down

    @property
    def fedmd(self) -> int:
        """All that federated distillation sends, the public set included."""
        return self.fedmd_up + self.fedmd_down + self.public_set

    @property
    def savings(self) -> float:
        """Share of the bytes of federated averaging that distillation saves; negative if it sends more."""
        return 1.0 - self.fedmd / self.fedavg

    @property
    def uplink_savings(self) -> float:
        """The same for the way up alone, which is what is usually quoted."""
        return 1.0 - self.fedmd_up / self.fedavg_up

    @property
    def cheaper(self) -> str:
        """ "FedMD" or "FedAvg", whichever sends less."""
        return "FedMD" if self.fedmd < self.fedavg else "FedAvg"

    def __str__(self) -> str:
        lines = [f"{'':10}{'up':>14}{'down':>14}{'public set':>14}{'total':>14}"]
        for name, up, down, public, total in (
            ("FedAvg", self.fedavg_up, self.fedavg_down, 0, self.fedavg),
            ("FedMD", self.fedmd_up, self.fedmd_down, self.public_set, self.fedmd),
        ):
            lines.append(f"{name:10}{up:>14,}{down:>14,}{public:>14,}{total:>14,}")
        more = "saves" if self.savings >= 0 else "sends more by"
        end = f"it sends less from {self.break_even:,} parameters on"
        lines.append(f"FedMD {more} {100 * abs(self.savings):.1f} %; {end}")
        return "\n".join(lines)


def communication_cost(
    n_clients: int,
    rounds: int,
    n_parameters: int,
    n_public: int,
    n_classes: int,
    itemsize: int | tuple[int, int] = (4, 8),
    *,
    n_features: int = 0,
    row_ids: bool = False,
) -> CommunicationCost:
    """Bytes that FedAvg and FedMD send.

    FedAvg: clients * rounds * parameters * itemsize, each way. FedMD: clients * rounds * public rows * classes *
    itemsize, each way, but for the first round, in which there is nothing to send down yet (a server model that is
    fitted has; it then sends one table more); and once the public rows themselves.

    Parameters
    ----------
    n_clients, rounds, n_parameters, n_public, n_classes : int
        `n_public` is the number of public rows used in a round.
    itemsize : int or (int, int)
        Bytes of a parameter and of a prediction. `FedMD` sends 4, with dtype="float64" 8.
    n_features : int
        Numbers in a public row (4 bytes each); 0 if the clients have the public rows anyway, as with market data.
    row_ids : bool
        Count the numbers of the rows (4 bytes each), which are sent where a round uses a subset of the public rows.

    Raises
    ------
    TypeError, ValueError
        For arguments that are no positive integers.

    Examples
    --------
    A network of 50,000 parameters against 200 public rows:

    >>> cost = communication_cost(10, 100, 50_000, 200, 3)
    >>> cost.fedavg_up, cost.fedmd_up, round(cost.uplink_savings, 3), cost.cheaper
    (200000000, 4800000, 0.976, 'FedMD')

    A student of 500 parameters is smaller than what it would have to say of them:

    >>> communication_cost(10, 100, 500, 200, 3, itemsize=4).cheaper
    'FedAvg'
    """
    for name, value in (("n_clients", n_clients), ("rounds", rounds), ("n_parameters", n_parameters),
                        ("n_public", n_public), ("n_classes", n_classes)):  # fmt: skip
        integer(name, value, low=1)
    integer("n_features", n_features, low=0)
    sizes = itemsize if isinstance(itemsize, tuple) else (itemsize, itemsize)
    if len(sizes) != 2:
        raise ValueError(f"itemsize must be an int or a pair (parameter, prediction); got {itemsize!r}")
    for size in sizes:
        integer("itemsize", size, low=1)
    one_way = n_clients * rounds * n_parameters * sizes[0]
    table = n_clients * n_public * n_classes * sizes[1]
    ids = n_clients * n_public * 4 if row_ids else 0
    up, down = rounds * table, (rounds - 1) * table + 2 * rounds * ids
    public = n_clients * n_public * n_features * 4
    each_parameter = 2 * n_clients * rounds * sizes[0]
    return CommunicationCost(one_way, one_way, up, down, public, (up + down + public) // each_parameter + 1)
