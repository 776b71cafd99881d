"""All studies by name: what each runs quickly and at full scale, and how its result reads as a table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

from bss2lab.config import Config
from bss2lab.errors import InputError, complain
from bss2lab.runner import Runner, default_folder
from bss2lab.studies import (
    fig3_continuous,
    fig3_latency,
    fig3_sparsity,
    fig3_training,
    fig4_robustness,
    fig4_silencing,
    fig5,
    results,
    table2,
    tables,
)
from bss2lab.studies.networks import Trained


@dataclass(frozen=True, slots=True)
class Study:
    """A study.

    Attributes:
        title: what it is about.
        quick, full: configurations: for a first look (minutes), and for the result that the notebooks draw.
        run: configuration and runner in, frozen result out.
        table: the result as Markdown.
        result: the result's type.
        network: configuration and runner in, one of its trained networks out, for whoever wants to go on with it.
    """

    title: str
    quick: Any
    full: Any
    run: Callable[[Any, Runner], Any]
    table: Callable[[Any], str]
    result: type
    network: Callable[[Any, Runner], Trained[Any, Any]] | None = None

    def configuration(self, *, full: bool, seeds: int | None = None) -> Any:
        """Return what to run.

        Args:
            full: at full scale.
            seeds: another number of initial conditions.

        Raises:
            InputError: if that number is out of range.
        """
        config = self.full if full else self.quick
        return config if seeds is None else _with_seeds(config, seeds)


_on_chip, _augmented, _software = (
    methodcaller("part", "itl", augmented=False), methodcaller("part", "itl", augmented=True),
    methodcaller("part", "software"),
)  # fmt: skip

STUDIES: dict[str, Study] = {
    "fig3b": Study(
        "training on the emulated chip: loss and accuracy over the epochs", fig3_training.QUICK,
        fig3_training.TrainingConfig(), fig3_training.training, fig3_training.table, fig3_training.Training,
        fig3_training.network,
    ),
    "fig3c": Study(
        "accuracy against the read-out interval: time to decision", fig3_latency.QUICK,
        fig3_latency.LatencyConfig(), fig3_latency.latency, fig3_latency.table, fig3_latency.Latency,
    ),
    "fig3d": Study(
        "an image every 11.8 µs in one uninterrupted run, with and without the artificial reset", fig3_continuous.QUICK,
        fig3_continuous.ContinuousConfig(), fig3_continuous.continuous, fig3_continuous.table,
        fig3_continuous.Continuous,
    ),
    "fig3e": Study(
        "accuracy against hidden spikes, sweeping the burst penalty", fig3_sparsity.QUICK,
        fig3_sparsity.SparsityConfig(), fig3_sparsity.sparsity, fig3_sparsity.table, fig3_sparsity.Sparsity,
    ),
    "fig4b": Study(
        "errors on detuned chips: in the loop, transferred, recalibrated", fig4_robustness.QUICK,
        fig4_robustness.RobustnessConfig(), fig4_robustness.robustness, fig4_robustness.table,
        fig4_robustness.Robustness,
    ),
    "fig4c": Study(
        "errors with silenced hidden neurons, trained with and without dropout", fig4_silencing.QUICK,
        fig4_silencing.SilencingConfig(), fig4_silencing.silencing, fig4_silencing.table, fig4_silencing.Silencing,
    ),
    "fig5": Study(
        "spoken words on the recurrent network, recurrent weights learned and fixed (synthetic speech)",
        _on_chip(fig5.QUICK), _on_chip(fig5.SpeechStudyConfig()), fig5.speech, fig5.table, fig5.Speech, fig5.network,
    ),
    "fig5-augmented": Study(
        "the same with augmentation: spikes move to neighbour channels", _augmented(fig5.QUICK),
        _augmented(fig5.SpeechStudyConfig()), fig5.speech, fig5.table, fig5.Speech, fig5.network,
    ),
    "fig5-software": Study(
        "the same in software, with and without augmentation", _software(fig5.QUICK),
        _software(fig5.SpeechStudyConfig()), fig5.speech, fig5.table, fig5.Speech, fig5.network,
    ),
    "fig5-shd": Study(
        "all of figure 5 on the Spiking Heidelberg Digits, where the files are", fig5.QUICK.on("shd"),
        fig5.SpeechStudyConfig().on("shd"), fig5.speech, fig5.table, fig5.Speech, fig5.network,
    ),
    "table1-mnist": Study(
        "table 1, MNIST: emulated chip, software, ReLU network", tables.QUICK_MNIST,
        tables.MNIST, tables.table1, tables.table, tables.Table,
    ),
    "table1-fashion": Study(
        "table 1, Fashion-MNIST: emulated chip, software, ReLU network", tables.QUICK_FASHION,
        tables.FASHION, tables.table1, tables.table, tables.Table,
    ),
    "table2": Study(
        "accuracy, energy, throughput and latency beside other platforms", table2.QUICK,
        table2.Table2Config(), table2.table2, table2.table, table2.Table2,
    ),
    "ablation": Study(
        "the emulated chip without one of its non-idealities at a time", tables.QUICK_ABLATION,
        tables.ABLATION, tables.ablation, tables.ablation_table, tables.Table,
    ),
}  # fmt: skip


def study(name: str) -> Study:
    """Return a study by name.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in STUDIES:
        raise InputError(complain("study", expected=f"one of {', '.join(STUDIES)}", got=repr(name), fix="choose one"))
    return STUDIES[name]


def saved(name: str, folder: Path, *, full: bool = False, runner: Runner | None = None) -> Any:
    """Return a study's full-scale result from ``folder``; compute it anew first if asked to.

    Args:
        name: the study.
        folder: where ``NAME.json`` lies.
        full: compute it anew, and replace the file.
        runner: does the jobs; all cores of this machine and the default store if not given.

    Raises:
        InputError: if there is no such study.
        DataError: if the file is missing or not its result.
    """
    chosen, path = study(name), folder / f"{name}.json"
    if full:
        with Runner(default_folder()) if runner is None else nullcontext(runner) as run:
            results.save(path, name, chosen.run(chosen.full, run))
    return results.load(path, name, chosen.result)


def _with_seeds(config: Config, seeds: int) -> Config:
    """Change the number of seeds, wherever the configuration keeps it."""
    changes: dict[str, Any] = {name: _with_seeds(value, seeds) for name, value in config if isinstance(value, Config)}
    if "seeds" in type(config).model_fields:
        changes["seeds"] = seeds
    return config.replace(**changes)
