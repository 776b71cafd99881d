"""``bss2lab data``: where the data sets are, whether they are whole, and making the synthetic one anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from bss2lab.cli.options import add_options, build, chosen
from bss2lab.datasets import files
from bss2lab.datasets.catalogue import CATALOGUE, SPEECH, PackedFile
from bss2lab.datasets.synthetic import SyntheticSpeechConfig
from bss2lab.errors import InputError, complain
from bss2lab.storage import check_writable


def add(p: argparse.ArgumentParser) -> None:
    """Fill the sub-command's parser."""
    verbs = p.add_subparsers(title="verbs", required=True, metavar="VERB")
    verbs.add_parser("list", help="what is here, and where").set_defaults(run=show)
    fetch = verbs.add_parser("fetch", help="download what is missing")
    fetch.add_argument("name", help=f"data set: {', '.join(CATALOGUE)}")
    fetch.set_defaults(run=download)
    check = verbs.add_parser("verify", help="check every file byte for byte")
    check.add_argument("name", nargs="?", help="data set (default: all)")
    check.set_defaults(run=verify)
    again = verbs.add_parser(
        "make", usage="bss2lab data make [options] NAME",
        help="make the synthetic speech anew (needs espeak-ng; a quarter of an hour on one core)",
        description="Speak every word with espeak-ng and turn it into spikes. The options change what is spoken; "
        "with none of them the result is what comes with the package.",
    )  # fmt: skip
    again.add_argument("name", choices=[SPEECH.name], metavar="NAME", help=SPEECH.name)
    again.add_argument("--to", type=Path, metavar="DIR", help="folder to write to (default: the user's cache)")
    again.add_argument("--threads", type=int, default=0, metavar="N", help="utterances at once (default: one per core)")
    add_options(again.add_argument_group("what is spoken"), SyntheticSpeechConfig, skip=set())
    again.set_defaults(run=make)


def show(_: argparse.Namespace) -> int:
    """List the files; nothing is downloaded."""
    return _print(files.listing(), failing=False)


def download(arguments: argparse.Namespace) -> int:
    """Fetch a data set into the user's cache, unless it is here."""
    for file, path in files.fetch(arguments.name).items():
        print(f"{file}  {path}")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check files; return 1 if one is corrupt or missing."""
    names = [arguments.name] if arguments.name else list(CATALOGUE)
    return _print([status for name in names for status in files.verify(name)], failing=True)


def make(arguments: argparse.Namespace) -> int:
    """Make the synthetic speech anew and say whether it is what comes with the package; return 0 either way."""
    from bss2lab.datasets import speechfolder  # brings the compiler: slow to import

    if arguments.threads < 0:
        raise InputError(
            complain("--threads", expected="0 (one per core) or more", got=arguments.threads, fix="pass 0")
        )
    config = build(SyntheticSpeechConfig(), chosen(arguments, SyntheticSpeechConfig))
    folder = arguments.to or files.cache_folder() / SPEECH.name
    check_writable(folder / "train.spk")
    with tqdm(desc="synthetic speech", unit="word", leave=False, disable=None) as bar:

        def advance(split: str, done: int, total: int) -> None:
            bar.set_description(f"synthetic speech, {split}", refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        sums = speechfolder.make(folder, config, threads=arguments.threads, on_utterance=advance)
    pinned = {file.name: file.content_sha256 for file in SPEECH.files if isinstance(file, PackedFile)}
    for name, found in sums.items():
        same = "as pinned" if found == pinned[name] else f"differs from the pinned {pinned[name]}"
        print(f"{folder / name}  SHA-256 of the content {found}: {same}")
    if sums != pinned:
        why = "what is spoken was changed" if config.changes() else "another espeak-ng, NumPy, SciPy or processor"
        print(f"synthetic speech, but not the set that comes with the package ({why}): load it by its path,")
        print(f"  speech.load('speech', 'train', path={str(folder / 'train.spk')!r})")
    return 0


def _print(statuses: list[files.FileStatus], *, failing: bool) -> int:
    for s in statuses:
        print(f"{s.dataset:<8}  {s.status:<7}  {s.where:<6}  {s.path or s.file}  {s.detail}")
    return int(failing and any(s.status != "ok" for s in statuses))
