"""unveil train with noise that is learned: what was learned is said, and what it does not know is refused."""

import json

from test_cli import SETS, call, refused, write_images


def test_training_says_what_was_learned_and_which_noise_is_told(tmp_path, capfd):
    write_images(tmp_path / "data")
    config, run = tmp_path / "unveil.yaml", tmp_path / "run"
    assert call("init", tmp_path / "data", "--out", config, *SETS)[0] == 0
    learn = ("train", config, "--out", run, "--set", "loss.recipe=unsure")
    assert "em.rounds to 0" in refused(*learn, "--set", "em.rounds=1")
    capfd.readouterr()
    assert call(*learn)[0] == 0
    learned = json.loads((run / "run.json").read_text())["learned"]
    assert learned["logs"].keys() == {"sigma"}
    assert f"\n{learned['why']}\n" in capfd.readouterr().out
