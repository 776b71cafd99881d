"""Frozen results in, Matplotlib figures out (needs the extra ``[lab]``)."""

from bss2lab.plots.anatomy import draw_agreement, draw_side_by_side
from bss2lab.plots.calibration import (
    draw_against_truth,
    draw_codes,
    draw_reach,
    draw_search,
    draw_spreads,
    draw_transfer,
    draw_without_input,
)
from bss2lab.plots.chip import constants_table, draw_membranes, draw_mismatch
from bss2lab.plots.fig1 import draw_floor_plan
from bss2lab.plots.fig1_network import draw_network_on_chip
from bss2lab.plots.fig2 import draw_graph, draw_loop, draw_recording
from bss2lab.plots.fig3 import draw_learning_curves, draw_snapshots
from bss2lab.plots.fig3_continuous import draw_continuous, draw_stream
from bss2lab.plots.fig3_latency import draw_latency
from bss2lab.plots.fig3_sparsity import draw_sparsity
from bss2lab.plots.fig4 import draw_against_real, draw_detuning
from bss2lab.plots.fig4_robustness import draw_robustness
from bss2lab.plots.fig4_silencing import draw_silencing
from bss2lab.plots.fig5 import draw_listening, draw_speech_training
from bss2lab.plots.fig5_errors import draw_confusion, draw_speaker_words, draw_speakers
from bss2lab.plots.hearing import (
    draw_adaptation,
    draw_click,
    draw_hair_cell,
    draw_phase_locking,
    draw_sound,
    draw_stages,
    draw_tonotopy,
)
from bss2lab.plots.neuron import (
    draw_converters,
    draw_estimates,
    draw_fits,
    draw_rates,
    draw_responses,
    draw_spiking,
    draw_summation,
)
from bss2lab.plots.speech_statistics import draw_speech_statistics
from bss2lab.plots.spoken import draw_on_chip, draw_readout, draw_scores
from bss2lab.plots.tables import draw_ablation, draw_table1

__all__ = [
    "constants_table", "draw_ablation", "draw_adaptation", "draw_against_real", "draw_against_truth", "draw_agreement",
    "draw_click", "draw_codes", "draw_confusion", "draw_continuous", "draw_converters", "draw_detuning",
    "draw_estimates", "draw_fits", "draw_floor_plan", "draw_graph", "draw_hair_cell", "draw_latency",
    "draw_learning_curves", "draw_listening", "draw_loop", "draw_membranes", "draw_mismatch", "draw_network_on_chip",
    "draw_on_chip", "draw_phase_locking", "draw_rates", "draw_reach", "draw_readout", "draw_recording",
    "draw_responses", "draw_robustness", "draw_scores", "draw_search", "draw_side_by_side", "draw_silencing",
    "draw_snapshots", "draw_sound", "draw_sparsity", "draw_speaker_words", "draw_speakers", "draw_speech_statistics",
    "draw_speech_training", "draw_spiking", "draw_spreads", "draw_stages", "draw_stream", "draw_summation",
    "draw_table1", "draw_tonotopy", "draw_transfer", "draw_without_input",
]  # fmt: skip
