"""The fast learner: the whole training step in one compiled call, on the model or in the loop with a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bss2lab.chip import Chip
from bss2lab.chip.program import FIRST_SAMPLE
from bss2lab.chip.spec import NEURONS
from bss2lab.dynamics import THRESHOLD
from bss2lab.errors import InputError, complain
from bss2lab.kernels import layers, training
from bss2lab.learners.base import BatchResult, Evaluation, Samples, check_adam, restored
from bss2lab.learners.readout import evaluate_on_substrate
from bss2lab.learners.start import starting_weights
from bss2lab.losses import AnyObjective
from bss2lab.network import chip_weights
from bss2lab.quantize import HIDDEN_SCALE, WEIGHT_CLAMP, model_units_per_lsb
from bss2lab.settings import AnyConfig
from bss2lab.surrogate import SuperSpike
from bss2lab.topology import Layer, Network
from bss2lab.types import AnyWeights, Substrate

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from numpy import ndarray

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma & Ba 2015; PyTorch's defaults)."""

NO_LIMIT = 3e38

_f = np.float32
_NO_RECORDING = np.empty((0, 0, 0), np.uint8)


class CompiledLearner:
    """Compiled training on an objective that has a compiled form.

    Args:
        config: the run.
        objective: what to minimise.
        chip: the chip in the loop (mode ``itl``) or under test (``transfer``); None: software alone.
        start: weights to begin with; drawn from the run's seed if not given.
    """

    def __init__(
        self, config: AnyConfig, objective: AnyObjective, chip: Chip | None, start: AnyWeights | None = None
    ) -> None:
        self._config, self._chip = config, chip
        drawn = start or starting_weights(config)
        self._kind: Any = type(drawn)
        own = drawn._asdict().get("recurrent")
        hidden = Layer(config.n_hidden, recurrent=own is not None, spike=SuperSpike(config.beta))
        network = Network(config.n_inputs, [hidden, Layer(config.n_outputs, spiking=False)])
        self._chain = layers.chain_of(network, [(config.model.alpha, config.model.mu)] * 2)
        self._flat = layers.flat(self._chain, [(drawn.hidden, own), (drawn.output, None)])
        self._moments = np.zeros((2, len(self._flat)), _f)
        self._step = np.zeros(1, np.int64)
        self._learns_recurrent = getattr(config, "recurrent", "learned") == "learned"
        self._room: layers.Room | None = None
        self.aim(objective)

    def train_batch(
        self, samples: Samples, index: Int64[ndarray, "b"], *, learning_rate: float,
        alive: Bool[ndarray, "n"], noise_seed: int,
    ) -> BatchResult:  # fmt: skip
        """See ``Learner.train_batch``."""
        n, cfg, s = len(index), self._config, samples.spikes
        cadc = fired = _NO_RECORDING
        scale = HIDDEN_SCALE
        if self._chip is not None and cfg.mode == "itl":
            held, scale = chip_weights(self.weights(), self._chip)
            silenced = None if alive.all() else ~alive
            raw = self._chip.record(self._chip.write(held), s, index, seed=noise_seed, silenced=silenced)
            cadc, fired = raw.cadc, raw.fired
        units = np.array([model_units_per_lsb(HIDDEN_SCALE), model_units_per_lsb(scale)], _f)
        neurons = np.array([0, NEURONS - cfg.n_outputs])
        record = training.Recorded(cadc, fired, FIRST_SAMPLE, neurons, units, _f(THRESHOLD + cfg.overshoot))
        weight_term = self._weight_term()
        self._step += 1
        k = int(self._step[0])
        adam = training.Adam(
            rate=_f(learning_rate / (1 - BETA1**k)), root=_f(np.sqrt(1 - BETA2**k)),
            beta1=_f(BETA1), beta2=_f(BETA2), epsilon=_f(EPSILON),
        )  # fmt: skip
        parts = layers.parts_of(n, cfg.n_steps, self._chain.width)
        stats = np.empty((n, training.N_STATISTICS), _f)
        training.train_step(
            self._chain, self._flat, self._moments,
            layers.Batch(s.offsets, s.units, samples.bins, samples.labels, index, cfg.n_steps),
            layers.spiking_units(self._chain, alive), self._goal, record, adam, self._rows, self._scratch(),
            np.empty((parts, len(self._flat)), _f), stats,
        )  # fmt: skip
        total = stats.sum(axis=0, dtype=np.float64)
        terms = {name: float(total[column]) for name, column in self._terms.items()}
        return BatchResult(
            n, int(total[training.CORRECT]), float(total[training.SPIKES]), int(total[training.CLIPPED]),
            {**terms, "weight": weight_term * n},
        )  # fmt: skip

    def evaluate(self, samples: Samples, *, noise_seed: int) -> Evaluation:
        """See ``Learner.evaluate``."""
        if self._chip is not None:
            vote = self._config.vote
            return evaluate_on_substrate(self._chip, self.weights(), samples, seed=noise_seed, vote=vote)
        s, n = samples.spikes, len(samples)
        decisions, spikes = np.empty(n, np.int64), np.empty(n, np.int64)
        batch = layers.Batch(s.offsets, s.units, samples.bins, samples.labels, np.arange(n), self._config.n_steps)
        training.evaluate(self._chain, self._flat, batch, self._goal.vote, decisions, spikes)
        return Evaluation.of(decisions, samples.labels, float(spikes.mean(dtype=np.float64)))

    def move_to(self, chip: Substrate) -> None:
        """See ``Learner.move_to``.

        Raises:
            InputError: if it is no emulated chip, which alone has a compiled loop.
        """
        if not isinstance(chip, Chip):
            fix = "start a run on it: Run(config, chip=…)"
            raise InputError(complain("chip", expected="an emulated Chip", got=type(chip).__name__, fix=fix))
        self._chip = chip

    def aim(self, objective: AnyObjective) -> None:
        """See ``Learner.aim``."""
        self._goal, self._terms, self._rho_w = objective.compiled()
        self._rows = self._rows_of_adam()

    def weights(self) -> AnyWeights:
        """See ``Learner.weights``."""
        (hidden, own), (output, _) = layers.views(self._chain, self._flat)
        return self._kind(hidden, output, *(() if own is None else (own,)))

    def state(self) -> dict[str, ndarray]:
        """See ``Learner.state``."""
        state: dict[str, ndarray] = {"step": self._step}
        for k, array in enumerate((self._flat, *self._moments)):
            (hidden, own), (output, _) = layers.views(self._chain, array)
            for name, w in (("hidden", hidden), ("output", output), ("recurrent", own)):
                if w is not None:
                    state[f"w_{name}" if k == 0 else f"moment{k}_{name}"] = w
        return state

    def restore(self, state: dict[str, ndarray]) -> None:
        """See ``Learner.restore``."""
        own = self.state()
        restored(state, own)
        check_adam(int(state["step"][0]), *(value for name, value in state.items() if name.startswith("moment2_")))
        for name, value in state.items():
            own[name][...] = value

    def _scratch(self) -> layers.Room:
        """Return room for a block on every thread; kept from step to step."""
        from bss2lab.kernels.compiler import numba

        samples = numba.get_num_threads() * layers.BLOCK
        if self._room is None or len(self._room.v) != samples:
            self._room = layers.room_for(self._chain, samples, self._config.n_steps, steady=True)
        return self._room

    def _penalised(self) -> list[ndarray]:
        """Return the weights under the weight penalty: those of the hidden layer."""
        hidden, own = layers.views(self._chain, self._flat)[0]
        return [hidden] if own is None else [hidden, own]

    def _weight_term(self) -> float:
        squares = (float(np.square(w, dtype=np.float64).mean()) for w in self._penalised())
        return self._rho_w * sum(squares)

    def _rows_of_adam(self) -> training.Rows:
        """Return what Adam does with each row: where it lies, its length, decay, limit, and whether it learns."""
        chain = self._chain
        sizes = [w.size for w in self._penalised()]
        rows: list[tuple[int, int, float, float, bool]] = []
        for k, (at, loop, source, pad) in enumerate(
            zip(chain.feeds, chain.loops, chain.sources, chain.pads, strict=True)
        ):
            decay = [self._rho_w / size for size in sizes] if k == 0 else [0.0]
            limit = WEIGHT_CLAMP if k == 0 else NO_LIMIT
            rows += [(at + i * pad, pad, decay[0], limit, True) for i in range(source)]
            if loop >= 0:
                rows += [(loop + i * pad, pad, decay[1], limit, self._learns_recurrent) for i in range(pad)]
        at, pad, decay, limit, learns = zip(*rows, strict=True)
        return training.Rows(
            np.array(at, np.int64), np.array(pad, np.int64), np.array(decay, _f), np.array(limit, _f),
            np.array(learns, np.int64),
        )  # fmt: skip
