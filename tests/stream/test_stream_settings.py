"""What a model recommends for its streams, and who wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.cli import main
from penstock.models import load
from penstock.runtime.errors import PenstockError
from penstock.runtime.model_file import MODEL_FILE, read_model_file, write_model_file
from penstock.runtime.stream_settings import load_stream_settings, save_stream_settings
from penstock.runtime.synth import synth


@pytest.fixture(scope="module")
def recommending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    synth("tiny", folder)
    save_stream_settings(folder, {"noise_scale": 0.3, "timesteps": [200, 100], "steps": 1})
    return folder


def test_the_model_recommends_and_the_user_decides(recommending: Path) -> None:
    model = load(recommending)
    with model.session("a", height=48, width=64) as session:
        assert (session.config.noise_scale, session.config.schedule) == (0.3, (200,))
    with model.session("a", height=48, width=64, steps=2, noise_scale=0.5) as session:
        assert (session.config.noise_scale, session.config.schedule) == (0.5, (200, 100))


def test_the_commands_follow_it(recommending: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(recommending), str(tmp_path), "--size", "48x64", "--json"]) == 0
    assert "1 steps" in json.loads(capsys.readouterr().out)["plan"]
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["config"]["schedule"] == [200] and plan["config"]["noise_scale"] == 0.3


def test_a_model_without_it(model_path: Path) -> None:
    assert load_stream_settings(model_path) == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([1], "stream: expected an object, got list"),
        ({"height": 64}, "stream: expected fields out of steps, .*, got 'height'"),
        ({"timesteps": 200}, "stream: timesteps: expected a list, got 200"),
        ({"timesteps": [200, "a"]}, "stream: timesteps: expected integers"),
        ({"noise_scale": "much"}, "stream: noise_scale: expected a number, got 'much'"),
        ({"steps": 3, "timesteps": [200, 100]}, r"stream: steps: expected 1 to 2"),
    ],
)
def test_a_bad_entry(recommending: Path, tmp_path: Path, entry: object, message: str) -> None:
    write_model_file(tmp_path, read_model_file(recommending) | {"stream": entry})
    with pytest.raises(PenstockError, match=rf"{MODEL_FILE}: {message}"):
        load_stream_settings(tmp_path)
