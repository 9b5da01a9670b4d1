"""Names, model files, job scripts and records that are not what they seem."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from alchemlip import InputError
from alchemlip.backends.names import ALIASES, known_names
from alchemlip.backends.registry import _resolve, _variant
from alchemlip.campaigns.commands import input_files, settings_of
from alchemlip.campaigns.slurm import SlurmSettings, job_parameters, read_slurm
from test_cli import Cli, assert_one_sentence, cli, files  # noqa: F401

# ---------------------------------------------------------------------- names of potentials


@pytest.mark.parametrize(
    "name", ["sevennet-0", "7net-0", "chgnet", "CHGNet", "mace-mp-small", "sevennet-mf-0@PBE"]
)
def test_no_local_file_shadows_a_potential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("mine")
    Path("a.cif").write_text("")
    options = {"structure": "a.cif", "model": name}
    assert settings_of("order", options, tmp_path)["model"] == name
    assert list(input_files("order", options, tmp_path)) == ["a.cif"]
    assert _variant(name) == tuple(name.split("@")) if "@" in name else (name, None)
    # Said plainly, the file is meant.
    options["model"] = f"./{name}"
    assert settings_of("order", options, tmp_path)["model"] == str(tmp_path / name)
    assert _variant(f"./{name}") == (f"./{name}", None)


def test_a_local_file_with_its_head(tmp_path: Path) -> None:
    (tmp_path / "my.model").write_text("")
    options = {"model": "my.model@second"}
    settings = settings_of("order", options, tmp_path)
    assert settings["model"] == str(tmp_path / "my.model@second")
    assert input_files("order", options, tmp_path) == {"my.model": tmp_path / "my.model"}


# ---------------------------------------------------------------------- model files


def bomb(file: Path, kind: int) -> None:
    """64 MiB of opcodes of a pickle in some kB."""
    with zipfile.ZipFile(file, "w", kind, compresslevel=9) as archive:
        archive.writestr("archive/data.pkl", b"N0" * 2**25)


@pytest.mark.parametrize("name", ["bomb.pth", "bomb.pth.tar", "bomb"])
def test_a_zip_bomb_is_not_unpacked(cli: Cli, name: str) -> None:  # noqa: F811
    bomb(Path(name), zipfile.ZIP_DEFLATED)
    assert Path(name).stat().st_size < 2**18
    for trust in ([], ["--trust-file"]):
        outcome = cli("energy", "salt.cif", "--model", name, *trust)
        assert_one_sentence(outcome, "would unpack to more than it has, as no model does: fetch")


def test_a_zip_whose_parts_overlap(tmp_path: Path) -> None:
    """Many entries that share the same stored bytes are a bomb, too."""
    file = tmp_path / "overlap.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", bytes(2**16))
        first = archive.infolist()[0]
        for number in range(100):
            copy = zipfile.ZipInfo(f"a/data/{number}")
            copy.file_size = copy.compress_size = first.file_size
            copy.CRC, copy.header_offset = first.CRC, first.header_offset
            archive.filelist.append(copy)
    with pytest.raises(InputError, match="would unpack to more than it has"):
        _resolve(str(file), trust=True)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 99, b"\x80"])
def test_what_is_no_model_asks_for_trust_first(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.pth"
    file.write_bytes(content)
    with pytest.raises(InputError, match="is a pickle, and loading one runs any code inside it"):
        _resolve(str(file), trust=False)


def test_the_potentials_of_the_wheels_are_none_of_this() -> None:
    pytest.importorskip("chgnet")
    assert _resolve("chgnet", trust=False).kind == "CHGNet"
    assert set(ALIASES.values()) <= set(known_names())


# ---------------------------------------------------------------------- SLURM


ASKED = {"workers": 1, "memory": "1GB", "walltime": "1:00:00"}


def words_of(settings: SlurmSettings, logs: Path) -> list[list[str]]:
    """Return the words of the directives as SLURM's own reading of quotes gives them."""
    parameters = job_parameters(settings, logs)
    directives = [f"-p {parameters['queue']}", f"-A {parameters['account']}"]
    return [shlex.split(line) for line in directives + parameters["job_extra_directives"]]


@pytest.mark.parametrize("text", ["a b", "a'b", 'a"b', "a;reboot", "$(reboot)", "a#b", "`id`"])
def test_directives_are_one_word_each(tmp_path: Path, text: str) -> None:
    directive = f"--comment={shlex.quote(text)}"
    settings = SlurmSettings(
        **ASKED, queue=text, account=text, job_extra_directives=[directive, "--gres gpu:1"]
    )
    logs = tmp_path / text / "logs"
    words = words_of(settings, logs)
    assert words[:2] == [["-p", text], ["-A", text]]
    assert words[2] == ["-e", str(logs / "alchemlip-%J.err")]
    assert words[4:] == [[f"--comment={text}"], ["--gres", "gpu:1"]]


@pytest.mark.parametrize(
    "path", ["/a b/python", "/a'b/python", '/a"b/python', "/a;id/p", "/$(id)/p", "/`id`/p", "/a\\b"]
)
def test_paths_reach_the_shell_as_they_are(tmp_path: Path, path: str) -> None:
    settings = SlurmSettings(**ASKED, python=path, local_directory=path)
    parameters = job_parameters(settings, tmp_path)
    shell = shutil.which("bash") or pytest.skip("no bash")
    for name in ("python", "local_directory"):
        printed = subprocess.run(
            [shell, "-c", f"printf %s {parameters[name]}"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert printed.stdout == path
    plain = SlurmSettings(**ASKED, local_directory="$TMPDIR/of me")
    printed = subprocess.run(
        [shell, "-c", f"printf %s {job_parameters(plain, tmp_path)['local_directory']}"],
        check=True,
        capture_output=True,
        text=True,
        env={"TMPDIR": "/scratch"},
    )
    assert printed.stdout == "/scratch/of me"
    assert job_parameters(SlurmSettings(**ASKED), tmp_path)["python"].strip('"') == sys.executable


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('queue: "long\\n#SBATCH --uid=0"', "line 4, column 1: queue = .*: write it in one line"),
        ('account: "a\\rb"', "account = .*: write it in one line"),
        ('python: "p\\nreboot"', "python = .*: write it in one line"),
        ('local_directory: "p\\nreboot"', "local_directory = .*: write it in one line"),
        ('interface: "p\\nreboot"', "interface = .*: write it in one line"),
        ('job_extra_directives: ["a\\nb"]', "job_extra_directives = .*in one line"),
        ('job_extra_directives: ["--comment=\'a"]', "job_extra_directives = .*quotation"),
    ],
)
def test_no_setting_adds_a_line_to_the_script(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "slurm.yaml"
    file.write_text(f"workers: 1\nmemory: 1GB\nwalltime: 1:00:00\n{line}\n")
    with pytest.raises(InputError, match=words):
        read_slurm(file)


# ---------------------------------------------------------------------- a record that is gone


def test_an_empty_record_beside_a_finished_result(cli: Cli) -> None:  # noqa: F811
    """It is told; the run is not made again, unasked."""
    short = ["--equilibrate", "0.01", "--switch", "0.02", "--repeats", "1", "--timestep", "2"]
    line = ["transmute", "salt.cif", "--to", "Na=K", "-T", "100", *short, "--cell", "fixed"]
    assert cli(*line).code == 0
    record = Path("transmute-salt/run.sqlite")
    for content in (b"", None):
        if content is None:
            record.unlink()
        else:
            record.write_bytes(content)
        before = Path("transmute-salt/result.json").read_bytes()
        assert_one_sentence(
            cli(*line),
            r"is finished by its result.json, but .*(is empty|no run record).*put the record back",
        )
        assert Path("transmute-salt/result.json").read_bytes() == before
        assert not record.exists() or record.read_bytes() == b""
        assert_one_sentence(cli("analyze", "transmute-salt"), "is empty|no run record")
