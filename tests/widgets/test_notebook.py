"""Every widget in a real kernel: what is stored compares equal, whatever the learner did in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]

CELLS = [
    "import threading\n"
    "import ipywidgets\n"
    "from kdcourse import widgets\n"
    "from kdcourse.distillation import soft_targets\n"
    "from tests.distillation.tiny import dataset, quarter_reader\n"
    "from tests.widgets.tiny import CLASS_NAMES, NAMES, task\n"
    "images, labels, logits = task()\n"
    "data = dataset()\n"
    "teacher = soft_targets(quarter_reader(), data.train, data, cache=False, progress=False)\n"
    "quick = widgets.RunSettings(epochs=2, batch_size=16)",
    "widgets.temperature_explorer(images, logits, labels, CLASS_NAMES, NAMES)",
    "widgets.ensemble_explorer(logits, labels, CLASS_NAMES, NAMES)",
    "widgets.mistake_browser(images, labels, CLASS_NAMES, dict(zip(NAMES, logits)))",
    "tuner = widgets.distillation_tuner(data, teacher, settings=quick)\ntuner",
    "tuner.train.click()\nassert tuner.wait(190)\ntuner.runs[-1].state",
    "heat = widgets.live_heat_map((1, 4), (0.5, 1), (0,), data=data, teacher=teacher, epochs=2, "
    "batch_size=16, precision='float32')\nheat",
    "heat.train.click()\nassert heat.wait(190)\nprint(len(heat.result.rows), heat.result.cancelled)",
    "asked = widgets.predict('a-key', 'How many?', number=(0, 10, 1))\nasked",
    "widgets.reveal('a-key', 7.5)",
    "asked.commit.click()\nwidgets.reveal('a-key', 7.5)",
    "widgets.quiz('03', [widgets.Question('Which?', [widgets.Option('this', True, 'Yes.'), "
    "widgets.Option('that', False, 'No.')])])",
    "tuner.epochs.value = 20\ntuner.train.click()\ntuner.sliders['temperature'].value = 9.0",
    "from tests.widgets.tiny import scenes\nwidgets.threshold_explorer(*scenes())",
    "ipywidgets.Widget.close_all()\n[thread.name for thread in threading.enumerate() if 'kdcourse' in thread.name]",
]
SHOWN = (1, 2, 3, 4, 6, 8, 9, 10, 11, 13)


@pytest.mark.slow(seconds=30)
def test_a_notebook_of_all_widgets_passes_strict_nbval_after_it_was_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # meant for the tests around this one
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    path, where = tmp_path / "widgets.ipynb", {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=500, store_widget_state=False, resources=where).execute()

    outputs = [cell.outputs for cell in notebook.cells]
    for position in SHOWN:
        (output,) = outputs[position]
        assert set(output.data) == {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}
        assert output.metadata["image/png"]["alt"]
        assert "interactive widget" in output.data["text/plain"] and "\n" not in output.data["text/plain"]
    assert outputs[5][0].data["text/plain"] == "'finished'"
    assert outputs[7][0].text == "4 False\n"
    assert outputs[14][0].data["text/plain"] == "[]"
    assert not outputs[12] and all(output.output_type != "stream" for output in (*outputs[4], *outputs[5]))

    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=200"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), "-q", str(path)]
    # Runs and a guess of the first time are there now: nothing of that may show in what is compared.
    kept = tmp_path / "kept"
    assert len(list((kept / "tuner").glob("*.json"))) >= 1 and (kept / "predictions" / "a-key.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CELLS)} passed" in done.stdout
