# ruff: noqa: E501  (tables of many short files)
"""A CIF is read right, or refused with its reason: never a wrong structure in silence."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemlip import InputError, Mixture, read_structure, write_structure
from alchemlip.mixture.cif.reading import read_cif
from alchemlip.mixture.species import species_mass, species_number
from alchemlip.mixture.structure_files import read_with_notes

FILES = Path(__file__).parent / "data" / "cif"
D_MASS, T_MASS = 2.014102, 3.016049  # AME2020

# Atoms of each species in the cell, and words of the warnings, in their order.
READ: dict[str, tuple[dict[str, float], list[str]]] = {
    "cif_in_a_text_field": ({"Na": 0.3, "Ag": 0.7, "Br": 1}, []),
    "ddlm_names": ({"K": 3, "Rb": 1, "Br": 4}, []),
    "deuterium": ({"Na": 1, "D": 1}, []),
    "disorder_groups": ({"O": 1, "Na": 1}, ["at most one is filled, of different disorder groups"]),
    "dummy_atom": ({"Na": 1, "Cl": 1}, [r"dummy atoms \(X1\), which were left out"]),
    "hall_symbol_only": ({"K": 2, "F": 1}, ["hold more than one atom together"]),
    "hydroxide_as_type": ({"K": 0.6, "O": 2}, [r"OH1: OH as O; W1: Wat as O"]),
    "label_ho_of_hydroxide": ({"H": 1, "Li": 0.5, "Na": 0.5, "O": 1}, []),
    "missing_hydrogen": ({"N": 0.9, "P": 0.1}, ["of whose hydrogens 3 in a formula unit are not"]),
    "operation_without_loop": ({"K": 1, "I": 1}, []),
    "origin_not_named": ({"Zn": 8, "Cr": 16, "O": 32}, []),
    "origin_two_named": ({"Zn": 8, "Cr": 12, "Al": 4, "O": 32}, []),
    "rhombohedral_axes": ({"Li": 0.8, "Co": 1, "O": 2}, []),
    "special_position_rounded": ({"Zn": 1.6, "Mg": 0.4, "O": 2}, []),
    "split_sites": ({"Ca": 1, "S": 1}, [r"at most one is filled, closer than 0\.7 .* 0\.60 Å"]),
    "two_blocks": ({"Na": 0.5, "K": 0.5, "F": 1}, ["'warm' was read, not the block 'cold'"]),
}
REFUSED = {
    "magnetic_operations": r"magnetic symmetry \(_space_group_magn_number_bns, line 8\)",
    "missing_element": r"its sites hold no Pb .*--accept-composition",
    "misspelt_occupancy": r"_atom_site_occupany \(line 16\), .* mean _atom_site_occupancy\?",
    "mixed_type_symbol": r"'M1' .*, line 16, .* '0.6Ni \+ 0.4Co', which is several species",
    "modulated": r"is a modulated structure \(_cell_modulation_dimension, line 9\)",
    "rounded_and_vacant": r"'Ti1' and 'Zr1' .*, lines 16 and 17, sum to more than 1 \(1\.01\)",
    "two_elements_without_occupancy": r"'Ti' and 'V' .* both wholly on one position",
    "unknown_coordinate": r"'O1' .*, line 17, has '\?' for the coordinate _atom_site_fract_x",
    "unknown_space_group": r"space group 'Q m c 3', line 8, which is unknown, and lists no",
}


def amounts(mixture: Mixture) -> dict[str, float]:
    total: dict[str, float] = {}
    for site in mixture.occupancies():
        for symbol, p in site.items():
            if symbol != "Va" and p > 0:
                total[symbol] = total.get(symbol, 0.0) + p
    return total


def test_every_file_has_its_right_answer() -> None:
    assert {file.stem for file in FILES.glob("*.cif")} == {*READ, *REFUSED}


@pytest.mark.parametrize("name", READ)
def test_a_kind_that_is_read_right(name: str) -> None:
    expected, words = READ[name]
    mixture, notes = read_with_notes(FILES / f"{name}.cif")
    assert amounts(mixture) == pytest.approx(expected)
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert re.search(word, note)


@pytest.mark.parametrize("name", REFUSED)
def test_a_kind_that_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]) as refusal:
        read_structure(FILES / f"{name}.cif")
    assert f"{name}.cif" in str(refusal.value)
    assert "\n" not in str(refusal.value)


# ---------------------------------------------------------------------- brothers of the files

HEAD = "label type_symbol fract_x fract_y fract_z occupancy"


def cif(
    atoms: str,
    head: str = "",
    group: str = "'P 1'",
    columns: str = HEAD,
    a: tuple[float, float, float] = (4.1, 4.1, 4.1),
    angles: tuple[float, float, float] = (90, 90, 90),
) -> str:
    """Return the text of a CIF; rows of atoms are separated by semicolons."""
    lines = ["data_a"]
    lines += [f"_cell_length_{x} {value}" for x, value in zip("abc", a, strict=True)]
    names = ("alpha", "beta", "gamma")
    lines += [f"_cell_angle_{x} {value}" for x, value in zip(names, angles, strict=True)]
    lines += [f"_space_group_name_H-M_alt {group}"] * bool(group) + [*head.split("|")] * bool(head)
    lines += ["loop_", *(f"_atom_site_{name}" for name in columns.split())]
    return "\n".join([*lines, *(row.strip() for row in atoms.split(";"))]) + "\n"


SALT = "Na1 Na 0 0 0 1; Cl1 Cl 0.5 0.5 0.5 1"
LABELS = "label fract_x fract_y fract_z"
FORMULA = "_chemical_formula_sum"


def formula(text: str, units: int = 1) -> str:
    return f"{FORMULA} '{text}'|_cell_formula_units_Z {units}"


BROTHERS: dict[str, tuple[str, dict[str, float] | str, str]] = {
    # What: (text, atoms or words of the refusal, words of the one warning)
    # labels without type symbols
    "CA with calcium": (cif("CA1 0 0 0;O1 .5 .5 .5", formula("Ca O"), columns=LABELS), {"Ca": 1, "O": 1}, ""),
    "CA with carbon": (cif("CA1 0 0 0;O1 .5 .5 .5", formula("C O"), columns=LABELS), {"C": 1, "O": 1}, ""),
    "CA, who knows": (cif("CA1 0 0 0;O1 .5 .5 .5", columns=LABELS), "can be Ca or C, and there is no", ""),
    "CA with both": (cif("CA1 0 0 0;C1 .5 .5 .5", formula("Ca C"), columns=LABELS), "formula does not tell", ""),
    "SiT of a site": (cif("SiT2 0 0 0;S1 .5 .5 .5", columns=LABELS), {"Si": 1, "S": 1}, ""),
    "OW is oxygen": (cif("OW1 0 0 0;Na+ .5 .5 .5", columns=LABELS), {"O": 1, "Na": 1}, ""),
    "Wat is water": (cif("Wat1 0 0 0;Na1 .5 .5 .5", columns=LABELS), {"O": 1, "Na": 1}, "Wat as O"),
    "WatOW of minerals": (cif("WatOW 0 0 0;WatHW 0 0 .2", columns=LABELS), {"O": 1, "H": 1}, ""),
    "Fea by brackets": (cif("Fea 0 0 0;O1 .5 .5 .5", formula("(Fe.9 Fe.1) O"), columns=LABELS), {"Fe": 1, "O": 1}, ""),
    "M1 is nothing": (cif("M1 0 0 0;O1 .5 .5 .5", columns=LABELS), "names no element", ""),
    "T1 of a zeolite": (cif("T1 0 0 0;O1 .5 .5 .5", formula("O Si"), columns=LABELS), "tetrahedral", ""),
    # type symbols
    "in capitals": (cif("FE1 FE 0 0 0 1; O1 O .5 .5 .5 1"), {"Fe": 1, "O": 1}, ""),
    "CO with cobalt": (cif("CO1 CO 0 0 0 1", formula("Co")), {"Co": 1}, ""),
    "CO, who knows": (cif("CO1 CO 0 0 0 1"), "can be Co or C and O", ""),
    "charges": (cif("A Fe3+ 0 0 0 1; B O2- .5 .5 .5 1; C Ti+4 .5 0 0 1"), {"Fe": 1, "O": 1, "Ti": 1}, ""),
    "ammonium": (cif("N1 NH4 0 0 0 1; Cl1 Cl .5 .5 .5 1"), {"N": 1, "Cl": 1}, "NH4 as N"),
    "a cation site": (cif("M1 Me 0 0 0 1; O1 O .5 .5 .5 1"), "'Me', which names no element", ""),
    "vacancy as an atom": (cif("Va1 Va 0 0 0 .5; O1 O .5 .5 .5 1"), "lists vacancies", ""),
    "flagged dummy": (
        cif("Na1 Na 0 0 0 1 d; C1 C .5 .5 .5 1 dum", columns=HEAD + " calc_flag"), {"Na": 1}, "dummy atoms"),
    "only dummies": (cif("X1 X 0 0 0 1"), "holds no atoms that are there", ""),
    # occupancies
    "negative": (cif("Na1 Na 0 0 0 -0.1"), "negative occupancy -0.1", ""),
    "above 1": (cif("Na1 Na 0 0 0 1.2"), r"sum to more than 1 \(1\.2\)", ""),
    "a word": (cif("Na1 Na 0 0 0 full"), "'full' for an occupancy", ""),
    "of 0": (cif("Na1 Na 0 0 0 1; K1 K 0 0 0 0"), {"Na": 1}, ""),
    "sof": (cif("Na1 Na 0 0 0 .5", columns=HEAD.replace("occupancy", "sof")), "did you mean", ""),
    "two valences": (cif("Fe1 Fe2+ 0 0 0 .25; Fe2 Fe3+ 0 0 0 .75"), {"Fe": 1}, ""),
    "H and D": (cif("H1 H 0 0 0 .25; D1 D 0 0 0 .75"), {"H": 0.25, "D": 0.75}, ""),
    "listed twice": (cif("Na1 Na 0 0 0 1; Na2 Na 1 0 0 1"), "both wholly on one position", ""),
    # coordinates
    "fractions": (cif("Na1 Na 1/4 0 3/4 1", "", "'P -1'"), {"Na": 2}, ""),
    "only places for atoms": (cif("? ? ? ? ? ?"), "holds no atoms", ""),
    "comma": (cif("Na1 Na 0,5 0 0 1"), "'0,5' for the coordinate", ""),
    "no z": (cif("Na1 Na 0 0 1", columns=HEAD.replace(" fract_z", "")), "no _atom_site_fract_z", ""),
    "misspelt x": (cif("Na1 Na 0 0 0 1").replace("_fract_y", "_frac_y"), "did you mean _atom_site_fract_y", ""),
    "Cartesian": (cif("Na1 Na 0 0 0 1").replace("fract", "Cartn"), "gives Cartesian positions", ""),
    "outside the cell": (cif("Na1 Na -0.25 1.5 3 1"), {"Na": 1}, ""),
    # the cell
    "no angle": (cif(SALT).replace("_cell_angle_beta 90\n", ""), "no _cell_angle_beta", ""),
    "no length": (cif(SALT, a=(4, 4, -4)), "'-4' for _cell_length_c", ""),
    "flat": (cif(SALT, angles=(150, 20, 20)), "close no cell", ""),
    "misspelt angle": (cif(SALT).replace("_angle_beta", "_angle_bata"), "did you mean _cell_angle_beta", ""),
    "volume": (cif(SALT, "_cell_volume 72.1"), {"Na": 1, "Cl": 1}, r"volume of 68\.92 .* states 72\.10"),
    "volume, rounded": (cif(SALT, "_cell_volume 69"), {"Na": 1, "Cl": 1}, ""),
    # symmetry
    "nothing said": (cif(SALT, group=""), "names no space group and lists no", ""),
    "nothing said, P1 by Z": (cif(SALT, formula("Cl Na"), group=""), {"Na": 1, "Cl": 1}, ""),
    "unknown": (cif(SALT, group="?"), "names no space group", ""),
    "by number": (cif(SALT, "_space_group_IT_number 225", group=""), {"Na": 4, "Cl": 4}, ""),
    "number 231": (cif(SALT, "_space_group_IT_number 231", group=""), "there are 1 to 230", ""),
    "symbol and number": (cif(SALT, "_space_group_IT_number 1", "'F m -3 m'"), "which is another", ""),
    "screw in brackets": (cif("Na1 Na .1 .2 .3 1", group="'P2(1)/c'"), {"Na": 4}, ""),
    "underscores": (cif("Na1 Na .1 .2 .3 1", group="'P 2_1/c'"), {"Na": 4}, ""),
    "another cell": (cif(SALT, group="'F m -3 m'", a=(4, 4, 5)), "does not have the symmetry of F m -3 m", ""),
    "listed": (cif("Na1 Na .1 .2 .3 1", "loop_|_symmetry_equiv_pos_as_xyz|x,y,z|-X,-Y,+Z", ""), {"Na": 2}, ""),
    "no group": (cif(SALT, "loop_|_symmetry_equiv_pos_as_xyz|x,y,z|-y,x,z", ""), "are no group", ""),
    "no identity": (cif(SALT, "loop_|_symmetry_equiv_pos_as_xyz|-x,-y,-z", ""), "are no group", ""),
    "no operation": (cif(SALT, "loop_|_symmetry_equiv_pos_as_xyz|x,y,z|x,y", ""), "'x,y' at line 11", ""),
    "list and symbol": (
        cif(SALT, "loop_|_symmetry_equiv_pos_as_xyz|x,y,z", "'F m -3 m'"), {"Na": 1, "Cl": 1}, "lists 1 .* has 192"),
    "list against Z": (
        cif(SALT, formula("Cl Na", 4) + "|loop_|_symmetry_equiv_pos_as_xyz|x,y,z", "'F m -3 m'"),
        "lists 1 .* formula, Z, density or multiplicities are those of F m -3 m", ""),
    "origin, who knows": (cif("C1 C 0 0 0 1", "", "'F d -3 m'", a=(3.57,) * 3), "which origin or axes", ""),
    "origin by multiplicity": (
        cif("C1 C 0 0 0 1 8", "", "'F d -3 m'", HEAD + " symmetry_multiplicity", (3.57,) * 3), {"C": 8}, ""),
    "origin of the ICSD": (cif("C1 C .125 .125 .125 1", "", "'F d -3 m Z'", a=(3.57,) * 3), {"C": 8}, ""),
    "hexagonal axes": (
        cif("Bi1 Bi 0 0 .2339 1", "", "'R -3 m'", a=(4.55, 4.55, 11.86), angles=(90, 90, 120)), {"Bi": 6}, ""),
    "thirds of two digits": (
        cif("Mg1 Mg .33 .67 .25 1", "", "'P 63/m m c'", a=(3.2, 3.2, 5.2), angles=(90, 90, 120)), {"Mg": 2}, ""),
    "near but split": (cif("Mg1 Mg 0 0 .03 .5", "", "'P -1'"), {"Mg": 1}, "at most one is filled"),
    # the formula
    "another composition": (cif(SALT, formula("Cl2 Na")), {"Na": 1, "Cl": 1}, "has the formula Cl2 Na, but"),
    "another Z": (cif(SALT, formula("Cl Na", 4)), {"Na": 1, "Cl": 1}, "states 4 formula units .* are 1 of"),
    "formula of the cell": (cif(SALT, formula("Cl1 Na1")), {"Na": 1, "Cl": 1}, ""),
    "brackets": (cif(SALT, formula("(Na (Cl0.5)2)")), {"Na": 1, "Cl": 1}, ""),
    "no formula": (cif(SALT, f"{FORMULA} 'Na1-x Cl'"), {"Na": 1, "Cl": 1}, "cannot be read, so the composition"),
    "D for H": (cif("Li1 Li 0 0 0 1; D1 D .5 .5 .5 1", formula("H Li")), {"Li": 1, "D": 1}, ""),
    "density": (cif(SALT, "_exptl_crystal_density_diffrn 2.165"), {"Na": 1, "Cl": 1}, "density of 1.408 g/cm³"),
    "counted hydrogens": (
        cif("O1 O 0 0 0 1 2", columns=HEAD + " attached_hydrogens"), {"O": 1}, "counts 2 hydrogens in the cell"),
    # the text
    "twice, otherwise": (cif(SALT, "_cell_length_a 5"), "_cell_length_a twice", ""),
    "twice, alike": (cif(SALT, "_cell_length_a 4.1"), {"Na": 1, "Cl": 1}, ""),
    "accents": (cif(SALT, "_publ_author_name 'Böhm, É.'"), {"Na": 1, "Cl": 1}, ""),
    "open quote": (cif(SALT, "_publ_author_name 'Boehm"), "is no CIF at line 9", ""),
    "values left over": (cif(SALT + " 7"), "is no CIF at line 9", ""),
    "one atom without a loop": (
        cif("").partition("loop_")[0] + "_atom_site_label Po1\n_atom_site_fract_x 0\n_atom_site_fract_y 0\n"
        "_atom_site_fract_z 0\n", {"Po": 1}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BROTHERS)
def test_brothers(name: str, tmp_path: Path) -> None:
    """There are more kinds than files."""
    text, expected, word = BROTHERS[name]
    file = tmp_path / "brother.cif"
    file.write_text(text, encoding="utf-8")
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as refusal:
            read_structure(file)
        assert "brother.cif" in str(refusal.value)
        return
    mixture, notes = read_with_notes(file)
    assert amounts(mixture) == pytest.approx(expected)
    assert len(notes) == bool(word), notes
    assert all(re.search(word, note) for note in notes)


def test_bytes_of_other_systems(tmp_path: Path) -> None:
    """Line ends, a byte order mark, Latin-1, gzip: the same structure."""
    text = cif(SALT, "_publ_author_name 'Böhm'")
    expected = read_cif_text(text, tmp_path).to_dict()
    for data in (
        text.replace("\n", "\r\n").encode(),
        text.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("latin-1"),
    ):
        (tmp_path / "other.cif").write_bytes(data)
        assert read_structure(tmp_path / "other.cif").to_dict() == expected
    (tmp_path / "packed.cif.gz").write_bytes(gzip.compress(text.encode()))
    assert read_structure(tmp_path / "packed.cif.gz").to_dict() == expected
    (tmp_path / "broken.cif.gz").write_bytes(gzip.compress(text.encode())[:-20])
    with pytest.raises(InputError, match="cannot read"):
        read_structure(tmp_path / "broken.cif.gz")


def read_cif_text(text: str, folder: Path, **options: Any) -> Mixture:
    file = folder / "text.cif"
    file.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_structure(file, **options)


# ---------------------------------------------------------------------- choices


def test_a_block_can_be_chosen(tmp_path: Path) -> None:
    file = FILES / "two_blocks.cif"
    for name in ("cold", "data_cold", "COLD"):
        mixture, notes = read_cif(file, block=name)
        assert amounts(mixture) == {"Rb": 1, "F": 1}
        assert notes == []
    with pytest.raises(InputError, match="has no block 'hot': its blocks are warm, cold"):
        read_cif(file, block="hot")
    # The first one counts although the second could be read.
    text = file.read_text().replace("Na1 Na 0 0 0 0.5", "Na1 Na 0 0 ? 0.5")
    (tmp_path / "a.cif").write_text(text)
    with pytest.raises(InputError, match=r"fract_z.* the block 'cold', which --block 'cold' reads"):
        read_structure(tmp_path / "a.cif")
    (tmp_path / "POSCAR.json").write_text("{}")
    with pytest.raises(InputError, match="is no CIF, so it has no block 'a'"):
        read_structure(tmp_path / "POSCAR.json", block="a")


def test_a_missing_element_can_be_accepted() -> None:
    mixture, notes = read_cif(FILES / "missing_element.cif", accept_composition=True)
    assert amounts(mixture) == pytest.approx({"Ti": 0.5, "Zr": 0.5, "O": 3})
    assert len(notes) == 1
    assert "but its sites add up to" in notes[0]


def test_normalisation_leaves_real_vacancies(tmp_path: Path) -> None:
    """Only sums above 1, and those within rounding of it."""
    mixture, _ = read_cif(FILES / "rounded_and_vacant.cif", normalise=True)
    assert mixture.occupancies()[0] == pytest.approx({"Ti": 0.65 / 1.01, "Zr": 0.36 / 1.01})
    assert mixture.occupancies()[1] == pytest.approx({"Na": 0.4, "Va": 0.6})
    thirds = cif("Na1 Na 0 0 0 .33; K1 K 0 0 0 .33; Rb1 Rb 0 0 0 .33; Cl1 Cl .5 .5 .5 .9")
    mixture = read_cif_text(thirds, tmp_path, normalise=True)
    assert mixture.occupancies()[0] == pytest.approx({"Na": 1 / 3, "K": 1 / 3, "Rb": 1 / 3})
    assert mixture.occupancies()[1] == pytest.approx({"Cl": 0.9, "Va": 0.1})


# ---------------------------------------------------------------------- symmetry


@pytest.mark.parametrize(
    ("group", "a", "angles", "atoms"),
    [
        ("'P n m a'", (5.2, 7.6, 5.4), (90, 90, 90), "A Na .1 .25 .3 1;B O .2 .05 .7 .5"),
        ("'I 41/a m d :2'", (3.8, 3.8, 9.5), (90, 90, 90), "A Ti 0 .75 .125 1;B O 0 .25 .0816 .9"),
        ("'R -3 c :H'", (5.0, 5.0, 17.0), (90, 90, 120), "A Ca 0 0 0 .7;B O .257 0 .25 1"),
        ("'C 1 2/c 1'", (9.7, 8.9, 5.3), (90, 107, 90), "A Na 0 .3 .25 1;B Si .29 .09 .23 .5"),
        ("'P 63 m c'", (3.2, 3.2, 5.2), (90, 90, 120), "A Zn .3333 .6667 0 1;B O .3333 .6667 .38 .5"),
    ],
)  # fmt: skip
def test_symmetry_and_its_expansion_agree(
    group: str, a: Any, angles: Any, atoms: str, tmp_path: Path
) -> None:
    """The sites are as many as the orbits, and carried onto one another by spglib's operations."""
    import spglib

    mixture = read_cif_text(cif(atoms, "", group, a=a, angles=angles), tmp_path)
    fractional = np.linalg.solve(mixture.cell.T, mixture.positions.T).T
    found: Any = spglib.get_symmetry_dataset(
        (mixture.cell, fractional, mixture.site_labels), symprec=1e-5
    )
    import gemmi

    wanted = gemmi.find_spacegroup_by_name(group.strip("'").replace(" :", ":"))
    assert found.number == wanted.number
    assert len(set(found.crystallographic_orbits.tolist())) == 2


def test_a_listed_group_is_its_symbols(tmp_path: Path) -> None:
    """Listed operations and the symbol give the same sites, up to their order."""
    import gemmi

    atoms = "A Na .1 .2 .3 1;B O 0 0 0 .5"
    operations = list(gemmi.SpaceGroup("P n n n:2").operations())
    listed = "|".join(
        ["loop_", "_space_group_symop_operation_xyz", *(o.triplet() for o in operations)]
    )
    first = read_cif_text(cif(atoms, listed, "", a=(5, 6, 7)), tmp_path)
    second = read_cif_text(cif(atoms, "", "'P n n n :2'", a=(5, 6, 7)), tmp_path)

    def places(mixture: Mixture) -> list[Any]:
        return sorted(
            (*np.round(x, 8).tolist(), sorted(site.items()))
            for x, site in zip(mixture.positions, mixture.occupancies(), strict=True)
        )

    assert places(first) == places(second)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, False)])
def test_near_pairs_against_vesin(pbc: tuple[bool, bool, bool]) -> None:
    """In a skewed cell, smaller and larger than the distance, with points outside of it."""
    from vesin import NeighborList

    from alchemlip.mixture.near_pairs import pairs_within

    rng = np.random.default_rng(3)
    cell = np.array([[4.0, 0.2, 0], [2.5, 3.1, 0], [-1.0, 0.4, 2.9]])
    points = rng.uniform(-6, 6, (12, 3))
    for distance in (0.8, 2.0, 5.5):
        i, j, shift = pairs_within(points, cell, np.array(pbc), distance)
        a, b, s = NeighborList(cutoff=distance, full_list=True).compute(
            points=points, box=cell, periodic=list(pbc), quantities="ijS"
        )
        found = {(x, y, *z) for x, y, z in zip(i.tolist(), j.tolist(), shift.tolist(), strict=True)}
        wanted = {(x, y, *z) for x, y, z in zip(a.tolist(), b.tolist(), s.tolist(), strict=True)}
        assert found == wanted
        assert len(i) == len(found)


# ---------------------------------------------------------------------- isotopes and masses


def test_isotopes_keep_their_mass(tmp_path: Path) -> None:
    text = cif("Li1 Li 0 0 0 1; D1 D .5 .5 .5 1; T1 T .5 0 0 .6; H1 H 0 .5 0 .25; D2 D 0 .5 0 .75")
    mixture = read_cif_text(text, tmp_path)
    li = species_mass(species_number("Li"))
    mean = 0.25 * species_mass(1) + 0.75 * D_MASS
    expected = [li, D_MASS, T_MASS, mean]
    np.testing.assert_allclose(mixture.masses, expected, atol=1e-6)
    assert sorted(mixture.nodes.number.tolist()) == [1, 1, 1, 1, 3]  # what a potential sees
    atoms = mixture.to_atoms()
    np.testing.assert_allclose(atoms.get_masses(), expected, atol=1e-6)
    assert atoms.get_chemical_symbols() == ["Li", "H", "H", "H"]
    again = Mixture.from_atoms(atoms)
    assert again.occupancies() == mixture.occupancies()
    by_pymatgen = Mixture.from_structure(mixture.to_structure())
    np.testing.assert_allclose(by_pymatgen.masses, expected, atol=1e-6)
    assert again.repeat(2).masses.sum() == pytest.approx(8 * sum(expected), abs=1e-4)


def test_masses_of_ase_files_are_kept(tmp_path: Path) -> None:
    atoms = Atoms("LiNaH", positions=[[0, 0, 0], [2, 0, 0], [0, 2, 0]], cell=[4, 4, 4], pbc=True)
    atoms.set_masses([6.015123, 22.98976928, D_MASS])
    atoms.write(tmp_path / "heavy.extxyz")
    mixture = read_structure(tmp_path / "heavy.extxyz")
    assert [next(iter(site)) for site in mixture.occupancies()] == ["Li[6.015123]", "Na", "D"]
    for ending in ("json", "extxyz", "cif"):
        write_structure(mixture, tmp_path / f"again.{ending}")
        again = read_structure(tmp_path / f"again.{ending}")
        np.testing.assert_allclose(again.masses, mixture.masses, atol=1e-6)
    assert read(tmp_path / "again.extxyz").get_masses() == pytest.approx(mixture.masses)


def test_the_mass_of_an_isotope_enters_the_free_energy() -> None:
    """H to D at 300 K: 3/2 kT ln(m_H/m_D), and the energy is that of the element."""
    from ase import units

    from alchemlip.freeenergy.transmutation import mass_term, transmutation

    salt = Mixture.from_atoms(
        Atoms("LiH", positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    )
    path = transmutation(salt, {"H": {"D": 1.0}})
    expected = 1.5 * units.kB * 300 * np.log(species_mass(1) / D_MASS)
    assert mass_term(path, 300.0) == pytest.approx(expected, rel=1e-6)
    assert path.mixture.nodes.number.tolist() == [3, 1, 1]


# ---------------------------------------------------------------------- round trip


def sites_of(mixture: Mixture) -> tuple[Any, ...]:
    fractional = np.linalg.solve(mixture.cell.T, mixture.positions.T).T
    lengths = np.linalg.norm(mixture.cell, axis=1)
    return fractional, lengths, mixture.occupancies(), mixture.exclusive.rows


@pytest.mark.parametrize("ending", ["cif", "json", "extxyz"])
@pytest.mark.parametrize("name", READ)
def test_reading_writing_and_reading_again(name: str, ending: str, tmp_path: Path) -> None:
    first, _ = read_with_notes(FILES / f"{name}.cif")
    write_structure(first, tmp_path / f"again.{ending}")
    again, _ = read_with_notes(tmp_path / f"again.{ending}")
    for old, new in zip(sites_of(first)[:2], sites_of(again)[:2], strict=True):
        np.testing.assert_allclose(old - new - np.rint(old - new) * (ending == "cif"), 0, atol=1e-7)
    for old, new in zip(first.occupancies(), again.occupancies(), strict=True):
        assert new == pytest.approx(old, abs=1e-9)
    np.testing.assert_array_equal(first.exclusive.rows, again.exclusive.rows)
    np.testing.assert_allclose(first.masses, again.masses, atol=1e-6)
    if ending == "json":
        assert again.to_dict() == first.to_dict()


# ---------------------------------------------------------------------- robustness and cost

VALID = [(FILES / f"{name}.cif").read_text() for name in READ]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(VALID), st.randoms(use_true_random=False), st.integers(1, 4))
def test_damaged_files_are_read_or_refused(text: str, random: Any, times: int) -> None:
    """Lines cut, swapped, deleted, doubled; words changed: a mixture or one sentence."""
    import tempfile

    lines = text.split("\n")
    for _ in range(times):
        kind, at = random.randrange(6), random.randrange(len(lines))
        if kind == 0:
            del lines[at:]
        elif kind == 1:
            del lines[at]
        elif kind == 2:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3:
            lines.insert(at, lines[at])
        else:
            words = lines[at].split(" ")
            odd = [
                "?",
                ".",
                "1e99",
                "-1",
                "'",
                "nan",
                "0.5(3)",
                "loop_",
                "",
                "x,y,z",
                "\x00",
                "é",
                "#",
            ]
            words[random.randrange(len(words))] = random.choice(odd)
            lines[at] = " ".join(words)
        lines = lines or [""]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "damaged.cif"
        file.write_text("\n".join(lines), encoding="utf-8")
        mixture, sentence = None, ""
        try:
            mixture, _ = read_with_notes(file)
        except InputError as error:
            sentence = str(error)
        assert "\n" not in sentence
        if mixture is not None:
            assert np.isfinite(mixture.positions).all()
            assert mixture.n_atoms > 0


def test_readers_are_imported_when_used(tmp_path: Path) -> None:
    """Neither torch nor pymatgen for a CIF, nor gemmi for anything else."""
    write_structure(Mixture.from_atoms(Atoms("Cu", cell=[3, 3, 3], pbc=True)), tmp_path / "a.json")
    program = (
        "import sys; from alchemlip import read_structure; "
        "before = {'gemmi', 'pymatgen', 'ase', 'torch'} & set(sys.modules); "
        "read_structure(sys.argv[1]); "
        "print(sorted(before), sorted({'gemmi', 'pymatgen', 'torch'} & set(sys.modules)))"
    )
    for file, loaded in ((FILES / "two_blocks.cif", "['gemmi']"), (tmp_path / "a.json", "[]")):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, str(file)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == f"[] {loaded}"


def test_the_work_grows_with_the_sites(tmp_path: Path) -> None:
    """Calls of our own functions for four times as many sites: at most about four times."""
    counts = []
    for n in (4, 8):
        grid = np.stack(np.meshgrid(*[np.arange(n)] * 2, np.arange(8)), axis=-1).reshape(-1, 3)
        rows = [
            f"Na{i} Na {x / n:.6f} {y / n:.6f} {z / 8:.6f} .9" for i, (x, y, z) in enumerate(grid)
        ]
        file = tmp_path / "many.cif"
        file.write_text(cif(";".join(rows), a=(4.0 * n, 4.0 * n, 32.0)))
        calls = 0

        def count(frame: Any, event: str, _: Any) -> None:
            nonlocal calls
            calls += event == "call" and "alchemlip" in frame.f_code.co_filename

        read_cif(file)
        sys.setprofile(count)
        try:
            read_cif(file)
        finally:
            sys.setprofile(None)
        counts.append(calls)
    assert counts[1] < 5 * counts[0]
