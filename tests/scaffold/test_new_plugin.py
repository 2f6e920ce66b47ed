"""What ``mmkit new plugin`` writes: complete, clean, installable, gold, and little of it the author's to change."""

import ast
import difflib
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import mmkit
from mmkit.discovery.loader import discover, load_all
from mmkit.registry.registry import Registry
from mmkit.scaffold import Made, new_plugin
from mmkit.scaffold.plugin import KINDS, LICENCES
from tests.scaffold.conftest import PIP, ROOT, python

LONGEST = "a23456789-b23456789-c23456789z"
TYPED = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"))
OWN = '''
def decode(raw: Any) -> Float[Tensor, "samples *channels"]:
    """The bytes of a recording: 16-bit numbers, two leads in turns, thousandths of a millivolt."""
    if isinstance(raw, str | Path):
        try:
            raw = Path(raw).read_bytes()
        except OSError as error:
            raise SampleError(f"cannot read the recording: {error}") from None
    if not isinstance(raw, bytes):
        raise SampleError(f"wanted the bytes of a recording or the path of one, got {type(raw).__name__}")
    if len(raw) % 4:
        raise SampleError(f"{len(raw)} bytes are no whole number of samples of two leads")
    return torch.tensor(np.frombuffer(raw, "<i2").reshape(-1, 2) / 1000, dtype=torch.float32)


def example(samples: int, channels: int) -> Any:
    """Silence."""
    return bytes(2 * channels * samples)


def network(inputs: int, dim: int) -> nn.Module:
    """A residual block behind a linear layer."""
    return Residual(inputs, dim)


class Residual(nn.Module):
    """x + MLP(norm(x)), with x a linear map of the patch."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(inputs, dim), nn.LayerNorm(dim)
        self.block = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, patches: Tensor) -> Tensor:
        """Float["patches dim"]."""
        first = self.first(patches)
        return first + self.block(self.norm(first))
'''
CASES = '''"""Recordings of two leads as bytes."""

from mmkit.testing import Case


def cases() -> list[Case]:
    """Three lengths; an odd number of bytes, none, too many, a file that is not there, text."""
    raws = [bytes(range(4 * samples)) for samples in (5, 17, 8)]
    bad = [b"abc", b"", bytes(404), "missing.dat", 3]
    return [Case({"channels": 2, "patch": 4, "dim": 16, "max_samples": 100}, raws=raws, bad=bad)]
'''


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_is_complete(kind: str, projects: Mapping[str, Made]) -> None:
    package, made = f"mmkit_heart_{kind}", projects[kind]
    modules = ("__init__.py", "cases.py", "config.py", f"{kind}.py", "plugin.py", "py.typed")
    assert set(made.files) == {
        *(".github/workflows/test.yml", ".gitignore", "LICENSE", "README.md", "pyproject.toml"),
        *(f"{package}/{name}" for name in modules),
        f"tests/test_{package}.py",
    }
    assert {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()} == set(made.files)
    for name in made.files:
        text = (made.folder / name).read_text("utf-8")
        left = re.findall(r"(?<!\$)\{\{.*|\{%.*", text) if name != "LICENSE" else []
        assert not left, f"{name} has {left[0]}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_steps_name_what_was_made(kind: str, projects: Mapping[str, Made]) -> None:
    made = projects[kind]
    assert made.commands == (
        f"pip install -e '{made.folder}[dev]'",
        f"pytest {made.folder}",
        f"mmkit conform mmkit-heart-{kind}",
    )
    functions, _, path = made.yours.partition(" in ")
    written = {node.name for node in ast.walk(ast.parse(Path(path).read_text())) if isinstance(node, ast.FunctionDef)}
    assert {name.rpartition(".")[2] for name in functions.split(" and ")} <= written
    readme = (made.folder / "README.md").read_text("utf-8")
    assert all(f"**`{name}`**" in readme for name in functions.split(" and "))


@pytest.mark.parametrize("kind", KINDS)
def test_the_metadata_is_what_was_asked_for(kind: str, projects: Mapping[str, Made]) -> None:
    project = tomllib.loads((projects[kind].folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == f"mmkit-heart-{kind}"
    assert project["authors"] == [{"name": "Ada Lovelace", "email": "ada@example.org"}]
    assert project["license"] == "Apache-2.0"
    assert project["entry-points"] == {"mmkit": {f"heart-{kind}": f"mmkit_heart_{kind}.plugin"}}
    assert f"mmkit>={mmkit.__version__}" in project["dependencies"]
    imported = set()
    for path in (projects[kind].folder / f"mmkit_heart_{kind}").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    foreign = {name for name in imported if name not in sys.stdlib_module_names and not name.startswith("mmkit_")}
    assert {line.partition(">=")[0] for line in project["dependencies"]} == foreign


@pytest.mark.parametrize("licence", LICENCES)
def test_a_licence_has_its_whole_text(licence: str, tmp_path: Path) -> None:
    made = new_plugin("pulse", "encoder", output=tmp_path / "pulse", author='Ada "A" Lovelace', licence=licence)
    text = (made.folder / "LICENSE").read_text("utf-8")
    first, last = text.strip().splitlines()[0].strip(), text.strip().splitlines()[-1].strip()
    assert (first, last) == {
        "Apache-2.0": ("Apache License", "limitations under the License."),
        "BSD-3-Clause": (
            "BSD 3-Clause License",
            "OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.",
        ),
        "MIT": ("MIT License", "SOFTWARE."),
    }[licence]
    if licence != "Apache-2.0":
        assert f'Copyright (c) {datetime.now(UTC).year} Ada "A" Lovelace' in text
    project = tomllib.loads((made.folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert (project["license"], project["authors"]) == (licence, [{"name": 'Ada "A" Lovelace'}])
    assert f'licence="{licence}"' in (made.folder / "mmkit_pulse" / "plugin.py").read_text("utf-8")


@pytest.mark.parametrize("name", ["x", LONGEST])
@pytest.mark.parametrize("kind", KINDS)
def test_the_code_is_clean_whatever_it_is_called(kind: str, name: str, tmp_path: Path) -> None:
    made = new_plugin(name, kind, output=tmp_path / "project")
    for words in (("check", "--no-cache", "."), ("format", "--no-cache", "--check", ".")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words], capture_output=True, text=True, cwd=made.folder, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_workflow_runs_what_these_tests_run(kind: str, projects: Mapping[str, Made]) -> None:
    workflow = yaml.safe_load((projects[kind].folder / ".github/workflows/test.yml").read_text("utf-8"))
    steps = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert steps == ['python -m pip install -e ".[dev]"', "ruff check .", "ruff format --check .", "mypy", "pytest"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_spec_of_the_readme_is_valid(
    kind: str, projects: Mapping[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(projects[kind].folder))
    importlib.invalidate_caches()
    entry = metadata.EntryPoint(f"heart-{kind}", f"mmkit_heart_{kind}.plugin", "mmkit")
    registry = Registry((*discover().reports, *load_all([entry])))
    (block,) = re.findall(r"```yaml\n(.*?)```", (projects[kind].folder / "README.md").read_text("utf-8"), re.DOTALL)
    rows = mmkit.check(yaml.safe_load(block), registry=registry)
    assert f"heart-{kind}/heart-{kind}" in [row.component for row in rows]


def test_a_namesake_of_the_same_kind_is_mentioned(tmp_path: Path) -> None:
    made = new_plugin("lstm", "backbone", output=tmp_path / "lstm")
    assert made.notes == ("text/lstm has this name, too: specs write lstm/lstm beside it",)
    assert new_plugin("lstm", "head", output=tmp_path / "head").notes == ()


def test_a_modality_of_another_name_is_in_the_record_and_the_readme(tmp_path: Path) -> None:
    made = new_plugin("wavelets", "encoder", output=tmp_path / "w", modality="pulse")
    assert 'modality="pulse"' in (made.folder / "mmkit_wavelets" / "plugin.py").read_text("utf-8")
    assert 'input: "{pulse}"' in (made.folder / "README.md").read_text("utf-8")


def with_functions_of_its_own(made: Made) -> Path:
    """The encoder with both functions, and what it is tried on, written by somebody else."""
    path = made.folder / "mmkit_heart_own" / "encoder.py"
    lines = path.read_text("utf-8").splitlines()
    functions = {node.name: node for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.FunctionDef)}
    first, last = functions["decode"].lineno - 1, functions["network"].end_lineno
    path.write_text("\n".join([*lines[:first], *OWN.strip().splitlines(), *lines[last:]]) + "\n", "utf-8")
    (made.folder / "mmkit_heart_own" / "cases.py").write_text(CASES, "utf-8")
    (made.folder / "tests" / "test_mmkit_heart_own.py").write_text(
        'from mmkit.testing import Conformance\n\n\nclass TestConformance(Conformance):\n    plugin = "heart-own"\n'
    )
    return path


def test_plugins_install_pass_their_tests_and_are_gold_also_with_an_authors_own_forty_lines(
    projects: Mapping[str, Made], tmp_path: Path
) -> None:
    own = new_plugin("heart-own", "encoder", output=tmp_path / "own")
    before = (own.folder / "mmkit_heart_own" / "encoder.py").read_text("utf-8").splitlines()
    after = with_functions_of_its_own(own).read_text("utf-8").splitlines()
    added = [line for line in difflib.unified_diff(before, after, n=0) if re.match(r"\+(?!\+)\s*\S", line)]
    assert len(added) <= 40, f"{len(added)} lines of the author's own"

    folders = [made.folder for made in (*projects.values(), own)]
    site = tmp_path / "site"
    python(*PIP, "--target", str(site), *map(str, folders), folder=tmp_path)
    assert (site / "mmkit_heart_own" / "py.typed").is_file()
    tests = [str(folder / "tests") for folder in folders]
    said = python("pytest", "-q", "-p", "no:cacheprovider", *tests, folder=tmp_path, before=site)
    levels = dict(re.findall(r"^\w+ (heart-\w+)/\S+: (\w+) \(\d+ passed\)$", said, re.MULTILINE))
    assert levels == {f"heart-{kind}": "gold" for kind in (*KINDS, "own")}, said


def test_the_types_of_every_plugin_are_right(projects: Mapping[str, Made]) -> None:
    """Under the settings of this repository: seconds, since `make lint` has filled the cache; a minute and a half if not."""
    folders = [str(made.folder / f"mmkit_heart_{kind}") for kind, made in projects.items()]
    assert python("mypy", *TYPED, *folders, folder=ROOT) == "Success: no issues found in 25 source files\n"


@pytest.mark.slow
def test_the_types_of_every_plugin_are_right_under_its_own_settings(
    projects: Mapping[str, Made], tmp_path: Path
) -> None:
    for made in projects.values():
        assert python("mypy", folder=made.folder, MYPYPATH=str(ROOT), MYPY_CACHE_DIR=str(tmp_path)).startswith(
            "Success"
        )


def test_the_wheel_of_mmkit_has_the_templates(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "mmkit", source / "mmkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    python("pip", "wheel", *PIP[2:], "--wheel-dir", str(tmp_path), str(source), folder=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    there = {name for name in zipfile.ZipFile(wheel).namelist() if "/templates/" in name}
    files = (path for path in (ROOT / "mmkit" / "scaffold" / "templates").rglob("*") if path.is_file())
    assert there == {str(path.relative_to(ROOT)) for path in files}
    assert "mmkit/py.typed" in zipfile.ZipFile(wheel).namelist()
