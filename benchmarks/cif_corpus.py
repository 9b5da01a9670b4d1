"""Folders of CIFs: what is read, what is refused and why, and what differs from its own formula.

    python benchmarks/cif_corpus.py FOLDER ... --write

Side by side with pymatgen and ASE, for whom "differs" is judged by the same rule: the ratios of the
elements that are read against ``_chemical_formula_sum``, hydrogen left out.  The page is
``benchmarks/cif_corpus.md``.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError
from alchemlip.mixture.cif.blocks import chosen_block, read_blocks
from alchemlip.mixture.cif.checks import FORMULA
from alchemlip.mixture.cif.formula import differing, hydrogen_together, parse_formula, scaled
from alchemlip.mixture.cif.reading import read_cif
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.structure_files import read_structure, write_structure
from environment import as_markdown, describe

HERE = Path(__file__).resolve().parent
PAGE, RECORD = HERE / "cif_corpus.md", HERE / "results" / "cif_corpus.json"
LIMIT_S = 20
REASONS = (
    ("no CIF by its grammar", r"it is no CIF|is empty|twice"),
    ("no atoms in it", r"holds no atoms"),
    ("no number for a coordinate", r"for the coordinate"),
    ("no number for an occupancy", r"for an occupancy|negative occupancy"),
    ("occupancies above 1", r"sum to more than 1"),
    ("two full atoms on one position", r"both wholly on one position"),
    ("several species in a type symbol", r"several species"),
    ("no element in a type symbol or label", r"names no element|can be|has no"),
    ("an element of the formula is missing", r"its sites hold no"),
    ("unknown or contradictory symmetry", r"space group|symmetry|no group"),
    ("modulated", r"modulated"),
    ("Cartesian positions (macromolecules)", r"Cartesian positions"),
    ("a misspelt name", r"did you mean"),
    ("neither labels nor type symbols", r"neither labels nor"),
    ("cell", r"cell|angle"),
)


def amounts_of(mixture: Mixture) -> dict[str, float]:
    total: dict[str, float] = {}
    for site in mixture.occupancies():
        for symbol, p in site.items():
            if symbol != "Va" and p > 0:
                total[symbol] = total.get(symbol, 0.0) + p
    return total


def by_us(path: Path) -> tuple[dict[str, float], bool]:
    mixture, notes = read_cif(path)
    return amounts_of(mixture), bool(notes)


def by_pymatgen(path: Path) -> tuple[dict[str, float], bool]:
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        structure = CifParser(path).parse_structures(primitive=False)[0]
    total: dict[str, float] = {}
    for site in structure:
        for species, p in site.species.items():
            symbol = str(getattr(species, "element", species).symbol)
            total[symbol] = total.get(symbol, 0.0) + float(p)
    return total, any("Incorrect stoichiometry" in str(w.message) for w in told)


def by_ase(path: Path) -> tuple[dict[str, float], bool]:
    from ase.io import read

    atoms = read(path, index=0)
    occupancy = atoms.info.get("occupancy")
    total: dict[str, float] = {}
    for index, symbol in enumerate(atoms.get_chemical_symbols()):
        here = {symbol: 1.0}
        if occupancy is not None:
            here = occupancy[str(atoms.arrays["spacegroup_kinds"][index])]
        for name, p in here.items():
            total[name] = total.get(name, 0.0) + float(p)
    return total, False


READERS: dict[str, Callable[[Path], tuple[dict[str, float], bool]]] = {
    "alchemlip": by_us,
    "pymatgen": by_pymatgen,
    "ASE": by_ase,
}


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def formula_of(path: Path) -> Mapping[str, float] | None:
    """Return the formula of the first block with atoms, as our reader finds it."""

    try:
        block, _ = chosen_block(read_blocks(path), path, None)
    except InputError:
        return None
    return parse_formula(block.value(FORMULA))


def differs(found: Mapping[str, float], formula: Mapping[str, float]) -> list[str]:
    """Return the elements, hydrogen apart, whose ratios are not the formula's."""
    heavy, wanted = (
        {symbol: x for symbol, x in hydrogen_together(a).items() if symbol != "H"}
        for a in (found, formula)
    )
    if not heavy or not wanted:
        return [] if heavy.keys() == wanted.keys() else sorted({*heavy, *wanted})
    return differing(scaled(heavy, wanted), wanted)


def same_again(path: Path, folder: Path) -> bool:
    """Whether writing and reading again gives the same mixture."""
    import numpy as np

    first, _ = read_cif(path)
    for ending in ("cif", "json", "extxyz"):
        file = folder / f"again.{ending}"
        write_structure(first, file)
        again = read_structure(file)
        lengths = [np.linalg.norm(m.cell, axis=1) for m in (first, again)]
        fractional = [np.linalg.solve(m.cell.T, m.positions.T).T for m in (first, again)]
        apart = fractional[0] - fractional[1]
        if not (
            np.allclose(*lengths, atol=1e-7)
            and abs(apart - np.rint(apart)).max() < 1e-6
            and np.array_equal(first.exclusive.rows.shape, again.exclusive.rows.shape)
            and all(
                a.keys() == b.keys() and all(abs(a[s] - b[s]) < 1e-8 for s in a)
                for a, b in zip(first.occupancies(), again.occupancies(), strict=True)
            )
        ):
            return False
    return True


def reason_of(sentence: str) -> str:
    return next((name for name, words in REASONS if re.search(words, sentence)), "another")


def judged(path: Path, scratch: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": path.name, "formula": None}
    formula = formula_of(path)
    entry["formula"] = None if formula is None else dict(formula)
    for name, reader in READERS.items():
        begun = time.perf_counter()
        try:
            with limited(LIMIT_S), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, told = reader(path)
            entry[name] = {
                "outcome": "read",
                "differs": [] if formula is None else differs(found, formula),
                "told": told,
            }
        except InputError as error:
            entry[name] = {
                "outcome": "refused",
                "reason": reason_of(str(error)),
                "words": str(error),
            }
        except Exception as error:  # readers raise anything
            entry[name] = {
                "outcome": "refused",
                "reason": type(error).__name__,
                "words": str(error)[:200],
            }
            if name == "alchemlip":
                entry[name]["reason"] = f"FAULT: {type(error).__name__}"
        entry[name]["seconds"] = round(time.perf_counter() - begun, 4)
    if entry["alchemlip"]["outcome"] == "read":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entry["again"] = same_again(path, scratch)
    return entry


def table(entries: Mapping[str, list[dict[str, Any]]]) -> str:
    lines = [
        "| collection | files | reader | read | refused | read, another composition | of these told |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in entries.items():
        for reader in READERS:
            results = [entry[reader] for entry in found]
            read = [r for r in results if r["outcome"] == "read"]
            wrong = [r for r in read if r["differs"]]
            lines.append(
                f"| {name if reader == 'alchemlip' else ''} "
                f"| {len(found) if reader == 'alchemlip' else ''} | {reader} | {len(read)} "
                f"| {len(results) - len(read)} | {len(wrong)} | {sum(r['told'] for r in wrong)} |"
            )
    return "\n".join(lines)


def reasons(entries: Mapping[str, list[dict[str, Any]]]) -> str:
    counts = Counter(
        entry["alchemlip"]["reason"]
        for found in entries.values()
        for entry in found
        if entry["alchemlip"]["outcome"] == "refused"
    )
    lines = ["| refused, because of | files |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {n} |" for name, n in counts.most_common())])


def many_sites() -> float:
    """Return the seconds that a CIF of 500 sites takes, gemmi and scipy being imported."""
    import tempfile

    head = "data_a\n" + "".join(f"_cell_length_{x} 24\n" for x in "abc")
    head += "".join(f"_cell_angle_{x} 90\n" for x in ("alpha", "beta", "gamma"))
    names = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    head += "_space_group_name_H-M_alt 'P 1'\nloop_\n" + "".join(f"_atom_site_{n}\n" for n in names)
    rows = [
        f"Na{i} Na {i % 8 / 8:.4f} {i // 8 % 8 / 8:.4f} {i // 64 / 8:.4f} {0.9 if i % 2 else 1}\n"
        for i in range(500)
    ]
    times = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "many.cif"
        file.write_text(head + "".join(rows))
        for _ in range(5):
            begun = time.perf_counter()
            read_cif(file)
            times.append(time.perf_counter() - begun)
    return min(times)


def in_words(result: Mapping[str, Any]) -> str:
    """Return the outcome of one reader for the record."""
    if result["outcome"] == "refused":
        return f"refused: {result['reason']}"
    if not result["differs"]:
        return "read"
    return f"another {', '.join(result['differs'])}" + (" (told)" if result["told"] else "")


def page(entries: Mapping[str, list[dict[str, Any]]]) -> str:
    every = [entry for found in entries.values() for entry in found]
    read = [entry["alchemlip"] for entry in every if entry["alchemlip"]["outcome"] == "read"]
    wrong = [r for r in read if r["differs"]]
    silent = {
        name: sum(
            bool(e[name]["outcome"] == "read" and e[name]["differs"] and not e[name]["told"])
            for e in every
        )
        for name in READERS
    }
    medians = {
        name: sorted(e[name]["seconds"] for e in every if e[name]["outcome"] == "read")
        for name in READERS
    }
    speed = ", ".join(
        f"{name} {1e3 * values[len(values) // 2]:.0f} ms"
        for name, values in medians.items()
        if values
    )
    again = [entry for entry in every if "again" in entry]
    return f"""# CIFs of other people

Written by `python benchmarks/cif_corpus.py NAME=FOLDER ... --write`. The files are the test data of other packages (their source
distributions or repositories) and are not copied here. Many of them are faulty on purpose.

{table(entries)}

*Another composition*: the ratios of the elements, hydrogen apart (lists often lack it), are not those of the file's own formula, for all
three by one rule; *told*: the reader gave a warning. In silence another composition comes from: {", ".join(f"{name} {n}" for name, n in silent.items())}.
The {len(wrong)} that alchemlip reads with another composition, with a warning that has both formulas (all were read as text, and some of the
files opened): solvents, hydrogens or minor elements that the list does not place, and occupancies that do not add up to the formula.
A whole missing element is refused.

{reasons(entries)}

Read, written as CIF, JSON and extended XYZ, and read again, the mixture is the same for {sum(e["again"] for e in again)} of {len(again)} files.
Half of the files that were read took less than: {speed} (each reader imported beforehand).
A file of 500 sites, every other one mixed, in P1: {1e3 * many_sites():.0f} ms, the best of five. {as_markdown(describe())}

What this does not show: whether coordinates are right, which no formula tells; files without a formula or with one that is no plain sum
count as agreeing.
"""


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="NAME=FOLDER or FOLDER")
    parser.add_argument("--write", action="store_true", help="write the record and the page")
    arguments = parser.parse_args()
    entries: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for text in map(str, arguments.folders):
            name, _, folder = text.rpartition("=")
            files = sorted(f for f in Path(folder).rglob("*") if f.suffix.lower() == ".cif")
            entries[name or Path(folder).name] = [judged(file, Path(scratch)) for file in files]
    print(table(entries), reasons(entries), sep="\n\n")
    for name, found in entries.items():
        for entry in found:
            ours = entry["alchemlip"]
            if ours["outcome"] == "read" and ours["differs"]:
                print(f"differs: {name}/{entry['file']}: {ours['differs']}, told: {ours['told']}")
            if entry.get("again") is False:
                print(f"another mixture when read again: {name}/{entry['file']}")
            if ours.get("reason", "").startswith(("FAULT", "another")):
                print(f"{ours['reason']}: {name}/{entry['file']}: {ours['words']}")
    if arguments.write:
        short = {
            name: {
                entry["file"]: [in_words(entry[reader]) for reader in READERS] for entry in found
            }
            for name, found in entries.items()
        }
        RECORD.write_text(json.dumps(short, indent=0) + "\n")
        PAGE.write_text(page(entries))


if __name__ == "__main__":
    main()
