"""Files of other tools: tensors, MATLAB arrays, image lists; the same candidate and counts whatever wrote them."""

import builtins
import logging

import numpy as np
import pytest
import scipy.io
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex.cli import application
from ufm_convex.errors import CountsError, FileFormatError, LabelsError, MissingExtraError, UFMError, UnknownNameError

RNG = np.random.default_rng(3)
W = RNG.normal(size=(3, 4))
H = np.abs(RNG.normal(size=(6, 4))).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 0])
NAMES = {"weights": "fc.weight", "features": "penultimate", "labels": "y"}
ARRAYS = {"fc.weight": W, "penultimate": H, "y": Y}


def plain():
    return ufm.Candidate(weights=W, features=H, labels=Y)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install torch")


def test_tensors_of_a_checkpoint_are_the_arrays(tmp_path, torch):
    path = tmp_path / "net.pt"
    state = {"fc": {"weight": torch.tensor(W)}, "penultimate": torch.tensor(H), "y": torch.tensor(Y)}
    torch.save({**state, "conv1.bias": torch.zeros(7), "epoch": 3}, path)
    assert ufm.Candidate.load(path, arrays=NAMES).sha256 == plain().sha256


def test_the_bias_of_the_layer_is_not_passed_over(tmp_path, torch):
    path = tmp_path / "net.pt"
    torch.save({**{name: torch.tensor(array) for name, array in ARRAYS.items()}, "fc.bias": torch.ones(3)}, path)
    with pytest.raises(FileFormatError, match=r"the array fc\.bias, which would not be used"):
        ufm.Candidate.load(path, arrays=NAMES)


def test_nothing_but_tensors_is_unpickled(tmp_path, torch):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for content in (Trap(), {"fc.weight": torch.tensor(W), "x": Trap()}, [1, 2], {"epoch": 3}):
        torch.save(content, tmp_path / "net.pt")
        with pytest.raises(FileFormatError, match="tensors"):
            ufm.Candidate.load(tmp_path / "net.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("half", [False, True])
def test_safetensors_of_every_type(tmp_path, torch, half):
    save_file = pytest.importorskip("safetensors.torch", reason="pip install safetensors").save_file
    tensors = {name: torch.tensor(array) for name, array in ARRAYS.items()}
    if half:
        tensors["penultimate"] = tensors["penultimate"].bfloat16()
    save_file(tensors, tmp_path / "net.safetensors")
    found = ufm.Candidate.load(tmp_path / "net.safetensors", arrays=NAMES)
    expected = H if not half else tensors["penultimate"].float().numpy()
    assert np.array_equal(found.features, expected)
    assert (found.sha256 == plain().sha256) is not half


def test_matlab_has_neither_vectors_nor_integers(tmp_path):
    path = tmp_path / "net.mat"
    scipy.io.savemat(path, {"weights": W, "features": H, "labels": Y.astype(float)})
    assert scipy.io.loadmat(path)["labels"].shape == (1, 6)
    assert ufm.Candidate.load(path).sha256 == plain().sha256
    scipy.io.savemat(path, {"weights": W, "features": H, "labels": Y + 1.0})
    with pytest.raises(UFMError, match="start at 1"):
        ufm.Candidate.load(path)
    scipy.io.savemat(path, {"weights": W, "features": H, "labels": Y + 0.5})
    with pytest.raises(UFMError, match=r"labels\[0\] is 0\.5"):
        ufm.Candidate.load(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".mat", ".npz"])
def test_damaged_files_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"MATLAB 7.3 MAT-file, or something like it" * 20)
    with pytest.raises(UFMError, match=path.name):
        ufm.Candidate.load(path)
    path.unlink()
    with pytest.raises(FileFormatError, match="cannot be read"):
        ufm.Candidate.load(path)


@pytest.mark.parametrize(("suffix", "package"), [(".pt", "torch"), (".safetensors", "safetensors")])
def test_a_package_that_is_missing_is_named_with_its_command(tmp_path, monkeypatch, suffix, package):
    taken = builtins.__import__

    def without(name, *arguments):
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return taken(name, *arguments)

    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"something")
    monkeypatch.setitem(__import__("sys").modules, package, None)  # an import of it fails
    with pytest.raises(MissingExtraError, match="pip install"):
        ufm.Candidate.load(path)


def test_arrays_are_called_by_names_that_a_candidate_has(tmp_path):
    np.savez(tmp_path / "c.npz", **ARRAYS)
    with pytest.raises(UnknownNameError, match="'weight'"):
        ufm.Candidate.load(tmp_path / "c.npz", arrays={"weight": "fc.weight"})
    with pytest.raises(FileFormatError, match="no array 'fc'"):
        ufm.Candidate.load(tmp_path / "c.npz", arrays={**NAMES, "weights": "fc"})
    with pytest.raises(FileFormatError, match="for two arrays"):
        ufm.Candidate.load(tmp_path / "c.npz", arrays={**NAMES, "features": "fc.weight"})
    assert ufm.Candidate.load(tmp_path / "c.npz", arrays=NAMES).sha256 == plain().sha256


def test_the_commands_take_the_same_names(tmp_path):
    path, written = tmp_path / "c.npz", tmp_path / "c.json"
    np.savez(path, **ARRAYS)
    names = [word for name, key in NAMES.items() for word in ("--array", f"{name}={key}")]
    decays = ["--lambda-w", "0.01", "--lambda-h", "0.01"]
    run = CliRunner().invoke
    assert run(application(), ["certify", str(path), *names, *decays, "-o", str(written)]).exit_code == 1
    assert run(application(), ["verify", str(written), "--candidate", str(path), *names]).exit_code == 0
    assert run(application(), ["certify", str(path), *decays]).exit_code == 2
    for wrong in (["--array", "weights"], ["--array", "=x"], [*names, "--array", "labels=y2"]):
        refused = run(application(), ["certify", str(path), *wrong, *decays])
        assert refused.exit_code == 2
        assert "--array is" in refused.stderr
    alone = run(application(), ["certify", "--class-counts", "5,4", *names, *decays])
    assert alone.exit_code == 2
    assert "no candidate" in alone.stderr


LISTS = {
    "n.json": "[500, 100, 20]",
    "keys.json": '{"2": 20, "0": 500, "1": 100}',
    "names.json": '{"cat": 500, "dog": 100, "eel": 20}',
    "n.txt": "# images\n500\n100\n20\n",
    "names.txt": "cat 500\nblue dog 100\neel 20\n",
    "n.csv": "class_id,count\n0,500\n1,100\n2,20\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_counts_are_the_same_in_every_form(tmp_path, name):
    (tmp_path / name).write_text(LISTS[name])
    assert ufm.read_class_counts(tmp_path / name).tolist() == [500, 100, 20]


def test_names_beside_counts_are_said_to_be_unused(tmp_path, caplog):
    (tmp_path / "names.txt").write_text(LISTS["names.txt"])
    ufm.read_class_counts(tmp_path / "names.txt")
    assert "not used: the names cat, blue dog, eel" in caplog.text


TABLES = ["5 3 2\n7 8 9\n4 4 1\n", "5;3;2\n7;8;9\n", "5\t3\t2\n7\t8\t9\n", "1 0 0\n0 1 0\n0 0 1\n", "+5, 3 2\n1, 1 2\n"]


@pytest.mark.parametrize("text", TABLES)
@pytest.mark.parametrize("read", [ufm.read_labels, ufm.read_class_counts])
def test_rows_of_a_table_are_no_samples_and_no_names(tmp_path, text, read):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises((LabelsError, CountsError), match="line 1"):
        read(tmp_path / "t.txt")


def test_a_sample_that_stands_twice_is_refused_as_names_of_two_words_are(tmp_path):
    (tmp_path / "y.txt").write_text("tiger cat\nsiamese cat\ntiger shark\n")
    with pytest.raises(LabelsError, match="line 3: the sample 'tiger' stands on line 1"):
        ufm.read_labels(tmp_path / "y.txt")
    (tmp_path / "y.csv").write_text("label\ntiger cat\nsiamese cat\ntiger cat\n")  # as the fix says
    assert ufm.read_labels(tmp_path / "y.csv").tolist() == [1, 0, 1]


def test_counts_of_numpy(tmp_path):
    np.save(tmp_path / "n.npy", np.array([500, 100, 20], dtype=np.int32))
    assert ufm.read_class_counts(tmp_path / "n.npy").tolist() == [500, 100, 20]
    done = CliRunner().invoke(
        application(),
        ["solve", "--class-counts", str(tmp_path / "n.npy"), "--lambda-w", "0.005", "--lambda-h", "0.005", "--json"],
    )
    assert '"num_samples": 620' in done.stdout


SAMPLES = {
    "plain.txt": "a/1.png 0\na/x y.png 2\nb.png 1\n",
    "tabs.txt": "a/1.png\t0\na/x y.png\t2\nb.png\t1\n",
    "semicolons.txt": "a/1.png;0\na/x y.png;2\nb.png;1\n",
    "commas.txt": "a/1.png,0\na/x y.png,2\nb.png,1\n",
    "tabs.csv": "path\tlabel\na/1.png\t0\na/x y.png\t2\nb.png\t1\n",
    "semicolons.csv": "path;label\na/1.png;0\na/x y.png;2\nb.png;1\n",
    "header.txt": "path label\na/1.png 0\na/x y.png 2\nb.png 1\n",
    "header.tsv": "path\tlabel\na/1.png\t0\na/x y.png\t2\nb.png\t1\n",
    "no header.tsv": "a/1.png\t0\na/x y.png\t2\nb.png\t1\n",
    "no header, semicolons.csv": "a/1.png;0\na/x y.png;2\nb.png;1\n",
    "no header, commas.csv": '"a/1, 2.png",0\na/x y.png,2\nb.png,1\n',
    "no header, windows.csv": "a\\1.png;0\na\\x y.png;2\nb.png;1\n",
    "plain names.csv": "1.png;0\nx y.png;2\nb.png;1\n",
    "folders.csv": "a/1;0\na/x y;2\nb/3;1\n",
}
NAMED = {
    "n.txt": "{head}\na.png cat\nb.png cat\nc.png dog\nd.png dog\n",
    "n.csv": "{head}\na.png;cat\nb.png;cat\nc.png;dog\nd.png;dog\n",
    "n.tsv": "{head}\na.png\tcat\nb.png\tcat\nc.png\tdog\nd.png\tdog\n",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_lists_of_samples(tmp_path, name):
    (tmp_path / name).write_text(SAMPLES[name])
    assert ufm.read_labels(tmp_path / name).tolist() == [0, 2, 1]


@pytest.mark.parametrize("head", ["", "path{mark}label", "img.path{mark}class"])
@pytest.mark.parametrize("name", NAMED)
def test_a_header_is_no_class(tmp_path, name, head):
    """Labels that are names could be anything; what stands in the first row is a class only where it is a sample."""
    mark = {"n.txt": " ", "n.csv": ";", "n.tsv": "\t"}[name]
    (tmp_path / name).write_text(NAMED[name].format(head=head.format(mark=mark)).lstrip("\n"))
    assert ufm.read_labels(tmp_path / name).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "img.path;kind\na.png;cat\nb.png;cat\nc.png;dog\n",  # a header that names no label
        "file;kind\na.png;0\nb.png;1\n",
        "0;a.png\n1;b.png\n",  # labels first
        "a.png;0\nb.png;1\na.png;1\n",  # a sample twice
        "a.png;0\nb.png\n",
        "1.5;0\n2.5;1\n",  # numbers are no files
    ],
)
def test_a_table_that_is_no_list_of_files_is_refused(tmp_path, text):
    for name in ("y.csv", "y.tsv"):
        (tmp_path / name).write_text(text.replace(";", "\t") if name == "y.tsv" else text)
        with pytest.raises(ufm.UFMError, match=r"columns|line"):
            ufm.read_labels(tmp_path / name)


def test_counts_between_tabs(tmp_path):
    (tmp_path / "n.tsv").write_text("class_id\tcount\n0\t500\n2\t20\n1\t100\n")
    assert ufm.read_class_counts(tmp_path / "n.tsv").tolist() == [500, 100, 20]
    options = ["--class-counts", str(tmp_path / "n.tsv"), "--lambda-w", "0.005", "--lambda-h", "0.005", "--json"]
    assert '"num_samples": 620' in CliRunner().invoke(application(), ["solve", *options]).stdout


@pytest.mark.parametrize("name", ["y.txt", "list.txt", "y.csv"])
def test_names_of_classes_are_numbered_as_folders_are(tmp_path, name, caplog):
    lines = ["dog", "cat", "dog", "eel", "cat"]
    if name == "list.txt":
        lines = [f"images/{k}.png {word}" for k, word in enumerate(lines)]
    (tmp_path / name).write_text("\n".join([*(["label"] if name == "y.csv" else []), *lines]))
    with caplog.at_level(logging.WARNING, logger="ufm_convex"):
        assert ufm.read_labels(tmp_path / name).tolist() == [1, 0, 1, 2, 0]
    assert "0 cat, 1 dog, 2 eel" in caplog.text


@pytest.mark.parametrize(
    "text", ["1 0\n2 1\n", "a.png 0\n7 1\n", "a.png\nb.png\n", "cat\n1\n", "a.png 0\nb.png x\n", "label\n0\n1\n"]
)
def test_what_is_neither_is_refused(tmp_path, text):
    (tmp_path / "y.txt").write_text(text)
    with pytest.raises(ufm.UFMError, match="line"):
        ufm.read_labels(tmp_path / "y.txt")
