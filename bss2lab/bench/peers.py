"""The same network in the idiom of three spiking-network libraries (extra ``[bench]``).

Equal: sizes, batch, steps, input, initial weights (norse's scaled, since it scales the current), Adam,
cross-entropy on the maximum over time, threshold 1, time constants, CPU, threads. Not equal: each library's own
discretisation, reset and surrogate (SuperSpike or the nearest it has), and none of the three penalties: all of
that costs the peers nothing or less.
"""

# The peers are optional, and not typed throughout.
# pyright: reportMissingImports=false, reportArgumentType=false, reportReturnType=false

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bss2lab.bench.steps import Workload
from bss2lab.errors import InputError, complain

NAMES = ("snntorch", "norse", "spikingjelly")


def check_installed() -> None:
    """Refuse to compare with libraries that are not there.

    Raises:
        InputError: if one is not installed.
    """
    missing = [name for name in NAMES if importlib.util.find_spec(name) is None]
    if missing:
        fix = "make bench, or pip install 'bss2lab[bench]' torch in one command"
        raise InputError(complain("--peers", expected=", ".join(NAMES), got=f"no {', '.join(missing)}", fix=fix))


def peer_steps(work: Workload) -> dict[str, Callable[[], object]]:
    """Return one training step per library.

    Raises:
        InputError: if one is not installed.
    """
    check_installed()
    makers = {"snnTorch": _snntorch, "norse": _norse, "SpikingJelly": _spikingjelly}
    return {name: _step(work, make(work)) for name, make in makers.items()}


def _step(work: Workload, network: nn.Module) -> Callable[[], object]:
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)
    x = work.dense.transpose(0, 1).contiguous()  # [time, batch, input], as all three expect

    def step() -> None:
        loss = functional.cross_entropy(work.config.loss_scale * network(x).amax(dim=0), work.labels)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def _linear(w: Any) -> nn.Linear:
    layer = nn.Linear(w.shape[0], w.shape[1], bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(w).T)
    return layer


def _snntorch(work: Workload) -> nn.Module:
    import snntorch
    from snntorch import surrogate

    model = work.config.model

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = _linear(work.weights.hidden), _linear(work.weights.output)
            gradient = surrogate.fast_sigmoid(slope=model.beta)
            self.hidden = snntorch.Synaptic(alpha=model.alpha, beta=model.mu, spike_grad=gradient)
            self.output = snntorch.Synaptic(alpha=model.alpha, beta=model.mu, reset_mechanism="none")

        def forward(self, x: Tensor) -> Tensor:
            (syn1, mem1), (syn2, mem2) = self.hidden.init_synaptic(), self.output.init_synaptic()
            out = []
            for now in x:
                spikes, syn1, mem1 = self.hidden(self.first(now), syn1, mem1)
                _, syn2, mem2 = self.output(self.second(spikes), syn2, mem2)
                out.append(mem2)
            return torch.stack(out)

    return Network()


def _norse(work: Workload) -> nn.Module:
    import norse.torch as norse

    config = work.config
    # norse multiplies the current by Δt/τ_m: with weights that undo it, its neurons fire as ours do
    hidden, output = (w * (config.tau_mem_us / config.dt_us) for w in work.weights)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = _linear(hidden), _linear(output)
            rates = {
                "tau_mem_inv": torch.tensor(1 / config.tau_mem_us),
                "tau_syn_inv": torch.tensor(1 / config.tau_syn_us),
            }
            spiking = norse.LIFParameters(**rates, method="super", alpha=torch.tensor(config.beta))
            self.hidden = norse.LIFCell(p=spiking, dt=config.dt_us)
            self.output = norse.LICell(p=norse.LIParameters(**rates), dt=config.dt_us)

        def forward(self, x: Tensor) -> Tensor:
            hidden = output = None
            out = []
            for now in x:
                spikes, hidden = self.hidden(self.first(now), hidden)
                v, output = self.output(self.second(spikes), output)
                out.append(v)
            return torch.stack(out)

    return Network()


def _spikingjelly(work: Workload) -> nn.Module:
    from spikingjelly.activation_based import functional as jelly
    from spikingjelly.activation_based import layer, neuron, surrogate

    model = work.config.model

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, second = _linear(work.weights.hidden), _linear(work.weights.output)
            options = {"c_decay": model.alpha, "v_decay": model.mu, "surrogate_function": surrogate.ATan()}
            self.hidden = nn.Sequential(layer.SeqToANNContainer(first), neuron.CUBALIFNode(v_threshold=1.0, **options))
            self.second = layer.SeqToANNContainer(second)
            self.output = neuron.CUBALIFNode(v_threshold=1e9, **options)
            self.output.store_v_seq = True
            jelly.set_step_mode(self, "m")

        def forward(self, x: Tensor) -> Tensor:
            jelly.reset_net(self)
            self.output(self.second(self.hidden(x)))
            return self.output.v_seq

    return Network()
